//! `portcullis scan`: is something on record that must not be?
//!
//! `forms` is what a value may look like and `views` what a text looked like before, `search` looks for values, `files` reads what holds no records, `sealed` counts
//! what cannot be searched, `answer` says what was found; this file looks for what detectors find, and asks.

mod answer;
mod files;
mod forms;
mod sealed;
mod search;
mod views;

use crate::identities::IdentityArguments;
use crate::logs::SourceArguments;
use crate::output::{Output, Usage, warn};
use answer::Answer;
use anyhow::{Context as _, bail};
use clap::Args;
use forms::AS_IT_IS;
use proxy_audit::record::Record;
use proxy_audit::source::{Source as _, Wanted};
use proxy_core::mask::{Found, Masker};
use proxy_policy::{Detector, DetectorChoice, Mask};
use proxy_ssh::mask::encoded;
use sealed::Unread;
use search::{Place, Search};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How the form of what detectors found is called that was not there as it is.
const ENCODED: &str = "encoded";

/// Shorter values are in any text by chance, and prove nothing.
const MIN_VALUE_BYTES: usize = 6;

/// Most bytes of a file of values.
const MAX_VALUES_BYTES: u64 = 16 << 20;

/// Search the record for values that must not be in it, and for what detectors find.
///
/// Every record is searched, and every result as a whole, also where it was cut into several records. Values are
/// looked for in all forms they may hide in. What is found is named by the line of its value and by its place, never
/// shown. With --file, logs, metrics and whatever else is on disk is searched too. Exit codes: 0 nothing found, 1
/// something found, 2 nothing found, but results are encrypted for auditors (--identity), too many were open at once, something on record
/// is damaged, or a --file holds what is no file, and these were not searched, 3 nothing could be searched. Results that were erased nobody can read any more: they are counted, and change no exit code.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portcullis scan
  portcullis scan --values canaries.txt --spool /var/lib/portcullis
  vault kv get -field=password secret/orders | portcullis scan --values - --from collector/audit.json
  portcullis scan --values canaries.txt --file /var/log/portcullis --file /var/lib/portcullis
  portcullis scan --detector Secrets --detector Email --from evidence.tar -o json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    /// A file of values, one a line; `-` for standard input. Values are never arguments: these can be seen by others.
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// What to look for beside values: names of detectors, as in a Policy. `none` for values alone.
    #[arg(long, value_name = "NAME", default_value = "Secrets", value_parser = detector)]
    detector: Vec<Wish>,
    /// Search this as well, byte for byte: a log, saved metrics, requests for approvals; of a directory all files below
    /// it, and files that links there lead to. Of a finding the first of its form in the file is named.
    #[arg(long, value_name = "PATH")]
    file: Vec<PathBuf>,
}

/// A detector, or none.
#[derive(Clone, Debug)]
enum Wish {
    None,
    Detector(Detector),
}

fn detector(name: &str) -> Result<Wish, String> {
    if name == "none" {
        return Ok(Wish::None);
    }
    serde_json::from_value(serde_json::Value::String(name.to_owned()))
        .map(Wish::Detector)
        .map_err(|error| error.to_string())
}

/// A value to look for.
struct Sought {
    /// Where it was given: `canaries.txt:3`.
    name: String,
    bytes: Vec<u8>,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<ExitCode> {
    let values = values(&arguments.values)?;
    let (detectors, masker) = detectors(&arguments.detector);
    if values.is_empty() && detectors.is_empty() {
        return Err(Usage::error("nothing to look for: give --values or --detector"));
    }
    let opened = arguments.identities.open_with_chunks(&arguments.source)?;
    let listed = files::list(&arguments.file)?;
    let ruleset = format!("{} {detectors:?} {ENCODED} {}", env!("CARGO_PKG_VERSION"), forms::NAMES);
    let mut answer = Answer {
        outcome: answer::Outcome::Ok,
        source: opened.source.name(),
        records: 0,
        files: listed.files.len(),
        bytes: 0,
        values: values.len(),
        forms: forms::NAMES,
        ruleset: const_hex::encode(Sha256::digest(ruleset)),
        detectors,
        sealed: 0,
        erased: 0,
        given_up: 0,
        not_searched: listed.unread,
        found: 0,
        findings: Vec::new(),
    };
    let search = Search::new(values.iter().map(|value| value.bytes.as_slice()))?;
    let unread = Unread::new(opened.chunks);
    let mut wanted = Sweep { values: &values, masker: masker.as_ref(), search, unread };
    for record in opened.source.records(&Wanted::default())? {
        wanted.record(&record?, &mut answer)?;
    }
    answer.given_up = wanted.search.given_up();
    opened.source.conclude();
    let left_out = opened.source.left_out().into_iter();
    answer
        .not_searched
        .extend(left_out.map(|why| files::Unread { path: answer.source.clone(), why: why.into() }));
    if answer.records == 0 {
        bail!("there is no record in {}", answer.source);
    }
    for file in &listed.files {
        wanted.file(file, &mut answer)?;
    }
    answer.conclude();
    answer.print(output)?;
    Ok(ExitCode::from(answer.outcome.exit_code()))
}

/// All that is looked for.
struct Sweep<'a> {
    values: &'a [Sought],
    masker: Option<&'a Masker>,
    search: Search,
    unread: Unread,
}

impl Sweep<'_> {
    fn name(values: &[Sought], number: usize) -> String {
        format!("value {}", values.get(number).map_or("?", |value| value.name.as_str()))
    }

    fn record(&mut self, record: &Record, answer: &mut Answer) -> anyhow::Result<()> {
        answer.records += 1;
        match self.unread.look(record)? {
            Some(sealed::Why::Sealed) => answer.sealed += 1,
            Some(sealed::Why::Erased) => answer.erased += 1,
            None => {}
        }
        answer.bytes += record.leaf().len() as u64;
        // A value that a record repeats is one finding.
        let mut seen = BTreeSet::new();
        let values = self.values;
        let results = self.search.record(record, |number, form, place| {
            answer.take(&mut seen, Self::name(values, number), form, place);
        });
        let Some(masker) = self.masker else { return Ok(()) };
        let mut take = |name: &str, form: &str, part: &str| {
            answer.take(&mut seen, format!("detector {name}"), form, Place::of(record, part));
        };
        texts(record, &mut |text, part| detect(masker, text, 0, |name, form, _| take(name, form, part)));
        for part in &results {
            detect(masker, &part.text, part.old, |name, form, _| take(name, form, &part.name));
        }
        Ok(())
    }

    fn file(&self, path: &Path, answer: &mut Answer) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        let at = |offset: u64, within: usize| Place::File {
            file: path.display().to_string(),
            offset: offset + within as u64,
        };
        let bytes = files::blocks(path, self.search.kept(), |block, offset| {
            self.search.find(block, 0, |number, form, start| {
                answer.take(&mut seen, Self::name(self.values, number), form, at(offset, start));
            });
            if let Some(masker) = self.masker {
                detect(masker, block, 0, |name, form, start| {
                    answer.take(&mut seen, format!("detector {name}"), form, at(offset, start));
                });
            }
        })?;
        answer.bytes += bytes;
        Ok(())
    }
}

/// What detectors find in a text, as it is and in what parts of it stand for: its name, its form, and where it begins.
/// Of so many bytes at its beginning, which were looked at before, only what what follows made of them.
fn detect(masker: &Masker, text: &[u8], old: usize, mut take: impl FnMut(&str, &'static str, usize)) {
    let known = masker.found(text.get(..old).unwrap_or_default());
    let is_known =
        |found: &Found| known.iter().any(|known| (&known.range, &known.name) == (&found.range, &found.name));
    let plain = masker.found(text);
    for found in plain.iter().filter(|found| !is_known(found)) {
        take(&found.name, AS_IT_IS, found.range.start);
    }
    let is_plain = |range: &Range<usize>| {
        plain.iter().any(|found| found.range.start < range.end && range.start < found.range.end)
    };
    for (range, name) in encoded::findings(masker, text) {
        if range.end > old && !is_plain(&range) {
            take(&name, ENCODED, range.start);
        }
    }
}

/// The texts of a record.
fn texts(record: &Record, show: &mut impl FnMut(&[u8], &str)) {
    show(record.body().as_bytes(), "body");
    for attribute in record.attributes() {
        if let Some(text) = record.text(&attribute.key) {
            show(text.as_bytes(), &attribute.key);
        }
        for text in record.list(&attribute.key) {
            show(text.as_bytes(), &attribute.key);
        }
    }
}

/// The values in these files.
fn values(files: &[PathBuf]) -> anyhow::Result<Vec<Sought>> {
    let mut values: Vec<Sought> = Vec::new();
    for file in files {
        let shown =
            if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
        let mut text = Vec::new();
        let read = if file == Path::new("-") {
            std::io::stdin().lock().take(MAX_VALUES_BYTES + 1).read_to_end(&mut text)
        } else {
            std::fs::File::open(file).and_then(|file| file.take(MAX_VALUES_BYTES + 1).read_to_end(&mut text))
        };
        read.with_context(|| format!("read values from {shown}"))?;
        if text.len() as u64 > MAX_VALUES_BYTES {
            bail!("{shown} is longer than {MAX_VALUES_BYTES} bytes");
        }
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || values.iter().any(|value| value.bytes == line) {
                continue;
            }
            let name = format!("{shown}:{}", number + 1);
            if line.len() < MIN_VALUE_BYTES {
                bail!("{name} is shorter than {MIN_VALUE_BYTES} bytes: it would be found everywhere");
            }
            values.push(Sought { name, bytes: line.to_vec() });
        }
        if values.is_empty() {
            warn(&format!("there is no value in {shown}"));
        }
    }
    Ok(values)
}

/// The detectors that were asked for, and what finds with them.
fn detectors(wishes: &[Wish]) -> (Vec<String>, Option<Masker>) {
    let wanted: Vec<&Detector> = wishes
        .iter()
        .filter_map(|wish| match wish {
            Wish::None => None,
            Wish::Detector(detector) => Some(detector),
        })
        .collect();
    if wanted.is_empty() {
        return (Vec::new(), None);
    }
    let choices: Vec<DetectorChoice> = wanted
        .iter()
        .map(|detector| DetectorChoice {
            detectors: vec![**detector],
            patterns: Vec::new(),
            with: Mask::default(),
        })
        .collect();
    let names = wanted.iter().map(|detector| format!("{detector:?}")).collect();
    // Nothing is hidden here, so the key is of no account.
    (names, Some(Masker::new(&choices, &[0; 32])))
}
