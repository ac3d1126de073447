//! Kubernetes quantities of bytes: `10Mi`, `500k`.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// Bytes of a quantity; `None` if it is not one, or beyond 64 bits.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: u64 = match text.strip_prefix(digits)? {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_are_read_in_kubernetes_words() {
        for (text, expected) in [
            ("10Mi", Some(10 << 20)),
            ("0", Some(0)),
            ("7k", Some(7_000)),
            ("3Gi", Some(3 << 30)),
            ("", None),
            ("Mi", None),
            ("+5", None),
            ("1.5Mi", None),
            ("1mi", None),
            ("99999999999Gi", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
