//! Whether an `awk` program only computes. Source: POSIX.1-2024, awk; GNU awk manual.

/// The program neither runs commands, nor writes files, nor calls what it does not name. `false` as well for what is
/// not understood.
pub(super) fn is_plain(program: &str) -> bool {
    let Some(code) = without_texts(program) else { return false };
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let runs = |word: &str| {
        // the last four lead to files that no operand names
        matches!(word, "system" | "getline" | "close" | "fflush" | "load" | "include")
            || matches!(word, "ARGV" | "ARGC" | "SYMTAB" | "FUNCTAB")
    };
    let pipes = code.replace("||", "  ").contains('|');
    !words.into_iter().any(runs) && !pipes && !code.contains('@') && !prints_to(&code)
}

/// The program with its strings, patterns and comments emptied.
fn without_texts(program: &str) -> Option<String> {
    let mut code = String::with_capacity(program.len());
    let mut chars = program.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                skip(&mut chars, '"')?;
                code.push_str("\"\"");
            }
            '/' if begins_pattern(&code)? => {
                super::pattern(&mut chars, '/')?;
                code.push_str("\"\"");
            }
            '#' => {
                chars.by_ref().find(|c| *c == '\n');
                code.push('\n');
            }
            '\\' => return None,
            c => code.push(c),
        }
    }
    Some(code)
}

fn skip(chars: &mut std::str::Chars<'_>, end: char) -> Option<()> {
    loop {
        match chars.next()? {
            '\\' => drop(chars.next()?),
            '\n' => return None,
            c if c == end => return Some(()),
            _ => {}
        }
    }
}

/// Whether an operand is expected, so that a slash is no division. `None`: who reads it decides.
fn begins_pattern(code: &str) -> Option<bool> {
    let code = code.trim_end_matches([' ', '\t']);
    let Some(last) = code.chars().next_back() else { return Some(true) };
    if last.is_ascii_alphanumeric() || last == '_' {
        let from = code.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let words = ["print", "printf", "return", "in", "do", "else", "case", "delete", "exit", "getline"];
        let word = code.get(from..)?;
        // a length of what follows, or of the record, which is divided
        return (word != "length").then(|| words.contains(&word));
    }
    match last {
        '"' | ']' => Some(false),
        ')' => closes_operand(code).then_some(false),
        // behind a variable it is increased, and divided then
        '+' | '-' if code.ends_with("++") || code.ends_with("--") => None,
        '(' | ',' | '{' | '}' | ';' | '\n' | '!' | '~' | '&' | '|' | '=' | '+' | '-' | '*' | '/' | '%'
        | '^' | '<' | '>' | '?' | ':' => Some(true),
        // a dot may end a number, and a field may be that of a pattern
        _ => None,
    }
}

/// The `)` at the end closes an operand, and no condition of a statement.
fn closes_operand(code: &str) -> bool {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let before = code.get(..at).unwrap_or_default().trim_end();
            return !["if", "while", "for", "switch"].iter().any(|word| before.ends_with(word));
        }
    }
    false
}

/// A `print` writes to something: `>` outside of parentheses behind it.
fn prints_to(code: &str) -> bool {
    let mut rest = code;
    while let Some(at) = rest.find("print") {
        rest = rest.get(at + 5..).unwrap_or_default();
        let mut depth = 0_i32;
        for c in rest.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                '>' if depth <= 0 => return true,
                ';' | '}' => break,
                _ => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn programs_that_only_compute_are_plain() {
        for program in [
            "{print $1}",
            "$3 > 80 {print $1, $5}",
            "/a|b/ {n++} END {print n}",
            "NR>1 && $5+0 > 90",
            "BEGIN{FS=\":\"} {print \"a|b > c\"}",
            "{s+=$1/2} END{print s/NR}",
            "!seen[$0]++",
            "{s+=($1+$2)/2; n[$1]/=3} /x/ {print /y/} END{print int(s)/2}",
            "{print $1}\n$3>5{print $2}",
            "{ if ($1 ~ /a/) print; else /b/ }",
            "{print length($0)/2, $1/1024, NF/2}",
        ] {
            assert!(is_plain(program), "{program}");
        }
    }

    #[test]
    fn programs_that_run_or_write_are_not() {
        for program in [
            "BEGIN{system(\"rm\")}",
            "{print | \"sh\"}",
            "{print > \"f\"}",
            "BEGIN{\"id\"|getline x}",
            "BEGIN{f=\"system\";@f(\"id\")}",
            "{printf \"%s\", $1 >> $2}",
            "{print a / b | \"sh\" /c}",
            "BEGIN{getline < \"f\"}",
            "{x\\\ny}",
            "{print (1) > (2)}",
            "BEGIN{} /\"/{} BEGIN{system(\"id\")} /\"/{}",
            "{if (x) /\"/; system(\"id\"); y=/\"/}",
            "{print /\"/; system(\"id\"); y=/\"/}",
            "{x = 1 + /\"/; system(\"id\"); y=/\"/}",
            "BEGIN{ARGV[1]=\"f\";ARGC=2}{print}",
            "BEGIN{print \"x\",\n\"y\" > \"f\"}",
            "/[/] \"/ { system(\"id\") } #\"/",
            "BEGIN{x=1./2; system(\"id\"); y=1/2}",
            "BEGIN{$/\"/; system(\"id\"); y=$/\"/}",
            "{x=length /\"/; system(\"id\"); y=/\"/}",
        ] {
            assert!(!is_plain(program), "{program}");
        }
    }
}
