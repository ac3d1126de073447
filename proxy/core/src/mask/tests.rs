use super::*;
use proxy_policy::{Detector, PatternMask};

mod documents;
mod found;
mod framed;
mod kinds;
mod streams;
mod work;

const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn mask(type_: MaskType) -> Mask {
    Mask { type_, keep_last: None }
}

fn choice(detectors: &[Detector], with: Mask) -> DetectorChoice {
    DetectorChoice { detectors: detectors.to_vec(), patterns: Vec::new(), with }
}

fn masker(detectors: &[Detector]) -> Masker {
    Masker::new(&[choice(detectors, mask(MaskType::Redact))], KEY)
}

fn everything() -> Masker {
    masker(&[Detector::Secrets, Detector::PersonalData])
}

fn text(masker: &Masker, input: &str) -> String {
    String::from_utf8(masker.text(input.as_bytes(), &mut MaskCounts::default()).into_owned()).expect("UTF-8")
}
