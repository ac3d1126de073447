//! Scripts that are put together of what shells and programs know.

use serde::Deserialize;
use std::fmt::Write as _;

/// The parts of a script; without some of them it is a script still.
pub(super) type Script = Vec<String>;

/// Numbers that are the same for the same seed.
#[derive(Debug)]
pub(super) struct Random<'t> {
    templates: &'t Templates,
    state: u64,
    depth: usize,
}

/// What they are put together of.
#[derive(Debug, Deserialize)]
pub(super) struct Templates {
    old: Vec<String>,
    new: Vec<String>,
    directories: Vec<String>,
    words: Vec<String>,
    pieces: Vec<String>,
    commands: Vec<String>,
    shell: Vec<String>,
    expansions: Vec<String>,
    wrappers: Vec<String>,
    compounds: Vec<String>,
    redirects: Vec<String>,
}

impl Templates {
    pub(super) fn read() -> Self {
        serde_yaml_ng::from_str(include_str!("../../corpus/templates.yaml")).unwrap()
    }
}

impl<'t> Random<'t> {
    pub(super) fn new(templates: &'t Templates, seed: u64) -> Self {
        Self { templates, state: seed, depth: 0 }
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }

    fn some<'p>(&mut self, from: &'p [String]) -> &'p str {
        &from[self.below(from.len())]
    }

    pub(super) fn script(&mut self, corpora: &[String]) -> Script {
        let mut parts = Vec::new();
        if self.one_in(10) {
            parts.push(corpora[self.below(corpora.len())].clone());
        } else {
            for _ in 0..=self.below(3) {
                let statement = self.statement();
                let end = self.pick(&["; ", "\n", " && ", " || ", "; ", "\n"]);
                parts.push(format!("{statement}{end}"));
            }
            parts.push("true".to_owned());
        }
        if self.one_in(4) {
            let text = self.damaged(&parts.concat(), corpora);
            parts = vec![text];
        }
        parts
    }

    fn damaged(&mut self, text: &str, corpora: &[String]) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(2) {
            let at = self.below(chars.len());
            match self.below(5) {
                0 if !chars.is_empty() => drop(chars.remove(at)),
                1 => {
                    let other = self.below(chars.len());
                    if !chars.is_empty() {
                        chars.swap(at, other);
                    }
                }
                2 => {
                    let other: Vec<char> = corpora[self.below(corpora.len())].chars().collect();
                    let cut = self.below(other.len());
                    chars.truncate(at);
                    chars.extend(other.into_iter().skip(cut));
                }
                _ => {
                    let piece = {
                        let from = &self.templates.pieces;
                        self.some(from)
                    };
                    chars.splice(at..at, piece.chars());
                }
            }
        }
        chars.into_iter().collect()
    }

    fn statement(&mut self) -> String {
        if self.depth > 2 || self.below(10) < 6 {
            return self.command();
        }
        self.depth += 1;
        let template = {
            let from = &self.templates.compounds;
            self.some(from)
        };
        let text = self.filled(template);
        self.depth -= 1;
        text
    }

    fn command(&mut self) -> String {
        self.depth += 1;
        let templates = self.templates;
        let templates = match self.below(12) {
            0 | 1 if self.depth < 4 => &templates.wrappers,
            2 | 3 => &templates.shell,
            4 => &templates.expansions,
            _ => &templates.commands,
        };
        let template = self.some(templates);
        let mut text = self.filled(template);
        if self.one_in(8) {
            let redirect = {
                let from = &self.templates.redirects;
                self.some(from)
            };
            text.push(' ');
            text.push_str(&self.filled(redirect));
        }
        self.depth -= 1;
        text
    }

    fn filled(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut chars = template.chars();
        while let Some(c) = chars.next() {
            if c != '@' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('f') => out.push_str(&{
                    let from = &self.templates.old;
                    self.path(from)
                }),
                Some('n') => out.push_str(&{
                    let from = &self.templates.new;
                    self.path(from)
                }),
                Some('d') => out.push_str(&{
                    let from = &self.templates.directories;
                    self.path(from)
                }),
                Some('a') => {
                    let Templates { old, new, directories, .. } = self.templates;
                    let from = [old, new, directories][self.below(3)];
                    out.push_str(&self.path(from));
                }
                Some('w') => out.push_str({
                    let from = &self.templates.words;
                    self.some(from)
                }),
                Some('v') => out.push_str(self.pick(&["x", "y", "z"])),
                Some('c') => out.push_str(&self.command()),
                Some('s') => out.push_str(&self.statement()),
                // itself within single quotes
                Some('q') => {
                    let inner = self.command();
                    out.push_str(&inner.replace('\'', "'\\''"));
                }
                Some(c) => out.extend(['@', c]),
                None => out.push('@'),
            }
        }
        out
    }

    /// A file in one of the ways in which shells have it written.
    fn path(&mut self, from: &[String]) -> String {
        let path = self.some(from).to_owned();
        let blank = path.contains(' ');
        match self.below(22) {
            0 => format!("'{path}'"),
            1 => format!("\"{path}\""),
            2 if !blank => format!("./{path}").replace(".//", "/").replace("./~", "~"),
            3 if !blank && !path.starts_with(['/', '~']) => format!("~/{path}"),
            4 if !path.starts_with(['/', '~']) => format!("\"$HOME/{path}\""),
            5 if !path.starts_with(['/', '~']) => format!("\"$PWD\"/'{path}'"),
            6 => self.escaped(&path),
            7 => self.ansi(&path),
            8 if !blank && path.len() > 2 => self.patterned(&path),
            9 if !blank && path.len() > 2 => {
                let at = 1 + self.below(path.len() - 1);
                let (head, tail) = path.split_at(at);
                self.pick(&["H''T", "H\"\"T", "{H,}T", "H{T,}", "H$'T'", "H\\\nT", "H${x}T", "H\"$x\"T"])
                    .replace('H', head)
                    .replace('T', tail)
            }
            10 if !blank => format!("dir/../{path}").replace("..//", "/").replace("dir/../~", "~"),
            11 => format!("\"${{x:-{path}}}\""),
            _ if blank => format!("\"{path}\""),
            _ => path,
        }
    }

    fn escaped(&mut self, path: &str) -> String {
        let escape = |random: &mut Self, c: char| {
            if c == ' ' || c != '/' && random.one_in(3) { format!("\\{c}") } else { c.to_string() }
        };
        path.chars().map(|c| escape(self, c)).collect()
    }

    fn ansi(&mut self, path: &str) -> String {
        let mut out = "$'".to_owned();
        for c in path.chars() {
            let code = u32::from(c);
            match self.below(8) {
                0 => write!(out, "\\x{code:02x}").unwrap(),
                1 => write!(out, "\\{code:03o}").unwrap(),
                2 => write!(out, "\\u{code:04x}").unwrap(),
                _ => out.push(c),
            }
        }
        out.push('\'');
        out
    }

    fn patterned(&mut self, path: &str) -> String {
        let at = self.below(path.len());
        let c = path.chars().nth(at).unwrap();
        if c == '/' || c == '~' {
            return path.to_owned();
        }
        let (head, tail) = (path.get(..at).unwrap(), path.get(at + 1..).unwrap());
        match self.below(6) {
            0 => format!("{head}?{tail}"),
            1 => format!("{head}[{c}]{tail}"),
            2 => format!("{head}*{tail}"),
            3 => format!("{head}[!q]{tail}"),
            4 => format!("{head}{{{c},q}}{tail}"),
            _ => format!("{head}*"),
        }
    }
}
