//! YAML as the API server reads and writes it: one document that JSON could say as well.
//!
//! Read with the words of YAML 1.1 (`yes`, `0644`), as `sigs.k8s.io/yaml` does. Names that are given twice, unknown
//! tags, several documents and aliases that grow are refused. What was read goes upstream as JSON, so that no other
//! reader can find something else in it.

use serde_json::Value;

/// Nodes that aliases may repeat in all.
const MAX_REPLAYED_EVENTS: usize = 10_000;

/// The text is no YAML, or cannot be written as such. Says nothing of the text: it may be a Secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotYaml;

/// Reads one document.
pub(crate) fn read(text: &str) -> Result<Value, NotYaml> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        reject_unsupported_tags: true,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|_quotes_the_text| NotYaml)
}

/// Writes one document.
pub(crate) fn write(value: &Value) -> Result<String, NotYaml> {
    serde_saphyr::to_string(value).map_err(|_impossible| NotYaml)
}

/// Writes JSON that says the same when it is read as YAML: YAML takes a few more characters for ends of lines, which it
/// folds with the blanks around them, and refuses others. They stand in texts only, where both read what is escaped alike.
pub(crate) fn as_json(value: &Value) -> String {
    let plain = value.to_string();
    let is_other = |c| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}');
    if !plain.contains(is_other) {
        return plain;
    }
    let written = |c: char| if is_other(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    plain.chars().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_words_of_yaml_1_1_mean_what_they_mean_to_the_api_server() {
        let read = |text| read(text).unwrap();
        assert_eq!(read("mode: 0644"), json!({"mode": 420}));
        assert_eq!(read("a: yes\nb: 'yes'\nc: ~"), json!({"a": true, "b": "yes", "c": null}));
        assert_eq!(read("{\"a\": [1, \"x\"]}"), json!({"a": [1, "x"]}));
        assert_eq!(read("a: &x {b: 1}\nc: *x"), json!({"a": {"b": 1}, "c": {"b": 1}}));
    }

    #[test]
    fn json_for_readers_of_yaml_has_no_ends_of_lines_in_it() {
        let value = json!({"a\u{85}b": ["x \u{2028} y\u{2029}", "\u{7f}\u{9f}\u{ffff}", "\u{1f600}ü\u{feff}", "\n\\\"/"]});
        let written = as_json(&value);
        assert_eq!(
            written,
            "{\"a\\u0085b\":[\"x \\u2028 y\\u2029\",\"\\u007f\\u009f\\uffff\",\"\u{1f600}ü\u{feff}\",\"\\n\\\\\\\"/\"]}"
        );
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for text in ["a: 1\na: 2", "a: 1\n---\nb: 2", "a: !danger x", "a: [", "? [a]\n: b"] {
            assert_eq!(read(text), Err(NotYaml), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in [
            "yes", "0644", "1e3", "~", "", " x ", "a: b", "x\ny\n", "- a", "null", "=", "<<", "0x1F",
            "1_000", "12:30:45",
        ] {
            let value = json!({"k": text, "l": [text]});
            assert_eq!(read(&write(&value).unwrap()).unwrap(), value, "{text:?}");
        }
    }
}
