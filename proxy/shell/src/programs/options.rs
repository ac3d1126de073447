//! Options as most programs read them. Source: POSIX.1-2024, Utility Syntax Guidelines; `getopt_long(3)`.

use super::super::argument::{Arg, Sort};

/// The options of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spec {
    /// Letters that stand alone.
    pub(super) flags: &'static str,
    /// Letters with a value, in the same argument or the next.
    pub(super) values: &'static str,
    /// Letters that may have a value, in the same argument only.
    pub(super) optional: &'static str,
    /// Long names that stand alone.
    pub(super) long_flags: &'static [&'static str],
    /// Long names with a value.
    pub(super) long_values: &'static [&'static str],
    /// Long names that may have a value, behind a `=` only.
    pub(super) long_optional: &'static [&'static str],
}

impl Spec {
    /// No options.
    pub(super) const NONE: Self =
        Self { flags: "", values: "", optional: "", long_flags: &[], long_values: &[], long_optional: &[] };
}

/// An option with its value.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The letter, or the whole long name.
    pub(super) name: String,
    pub(super) value: Option<Arg>,
}

/// Options before the first operand, and where that is. `None`: an option that the program does not have, or one that
/// is not literal.
pub(super) fn leading(args: &[Arg], spec: Spec) -> Option<(Vec<Given>, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        if arg.is_unclear_option() {
            return None;
        }
        if !arg.is_option() {
            break;
        }
        at += 1;
        if arg.text == "--" {
            break;
        }
        let from = at;
        at += match arg.text.strip_prefix("--") {
            Some(long) => long_option(long, args.get(at), spec, &mut found)?,
            None => short_options(arg, args.get(at), spec, &mut found)?,
        };
        // what follows the first of several is the command
        if args.get(from..at)?.iter().any(Arg::may_be_several) {
            return None;
        }
    }
    Some((found, at))
}

/// Options wherever they stand, and the operands. `None`: an option that the program does not have, one that may mean
/// several, or an argument that may be any.
pub(super) fn parsed(args: &[Arg], spec: Spec) -> Option<(Vec<Given>, Vec<Arg>)> {
    sorted(args, spec, false)
}

/// As [`parsed`], for programs that take `-5` and `-1000c` in an option's place for a number.
pub(super) fn counted(args: &[Arg], spec: Spec) -> Option<(Vec<Given>, Vec<Arg>)> {
    sorted(args, spec, true)
}

fn sorted(args: &[Arg], spec: Spec, counts: bool) -> Option<(Vec<Given>, Vec<Arg>)> {
    let (mut found, mut operands) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        at += 1;
        if arg.sort == Sort::Open {
            return None;
        }
        if arg.text == "--" && arg.sort == Sort::Exact {
            operands.extend(args.get(at..)?.iter().cloned());
            break;
        }
        if !arg.is_option() {
            if arg.may_hold_option() {
                found.push(attached(arg, spec)?);
            } else {
                operands.push(arg.clone());
            }
            continue;
        }
        if counts && is_count(&arg.text) {
            continue;
        }
        let from = at;
        at += match arg.text.strip_prefix("--") {
            Some(long) => long_option(long, args.get(at), spec, &mut found)?,
            None => short_options(arg, args.get(at), spec, &mut found)?,
        };
        operands.extend(args.get(from..at)?.iter().filter(|value| value.may_be_several()).cloned());
    }
    Some((found, operands))
}

/// An option of which the value in the same argument is not known, but for its shape: `-n$(nproc)`, `--output=*.txt`.
fn attached(arg: &Arg, spec: Spec) -> Option<Given> {
    let given = |name: &str, value: &str| Given {
        name: name.to_owned(),
        value: Some(Arg { text: value.to_owned(), sort: arg.sort.pattern() }),
    };
    if let Some(long) = arg.text.strip_prefix("--") {
        let (name, value) = long.split_once('=')?;
        let name = long_name(name, spec).filter(|name| spec.long_values.contains(name))?;
        return Some(given(name, value));
    }
    let text = arg.text.strip_prefix('-')?;
    let letter = text.chars().next().filter(|letter| spec.values.contains(*letter))?;
    Some(given(&letter.to_string(), text.get(letter.len_utf8()..)?))
}

/// `-5`, `-1000c`: a number without an option.
fn is_count(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or_default();
    let letters = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    letters.len() < rest.len() && letters.chars().all(|c| "bcfklmqvz".contains(c))
}

/// Whether one of these options is among those that were given.
pub(super) fn has(given: &[Given], names: &[&str]) -> bool {
    given.iter().any(|option| names.contains(&option.name.as_str()))
}

/// The values of these options, in their order.
pub(super) fn values<'a>(given: &'a [Given], names: &'a [&str]) -> impl Iterator<Item = &'a Arg> {
    given
        .iter()
        .filter(|option| names.contains(&option.name.as_str()))
        .filter_map(|option| option.value.as_ref())
}

/// How many further arguments the option takes.
fn long_option(long: &str, next: Option<&Arg>, spec: Spec, found: &mut Vec<Given>) -> Option<usize> {
    let (given, value) = long.split_once('=').map_or((long, None), |(given, value)| (given, Some(value)));
    let name = long_name(given, spec)?;
    if spec.long_values.contains(&name) {
        let (value, taken) = match value {
            Some(value) => (Arg::exact(value), 0),
            None => (next?.clone(), 1),
        };
        found.push(Given { name: name.to_owned(), value: Some(value) });
        return Some(taken);
    }
    found.push(Given { name: name.to_owned(), value: value.map(Arg::exact) });
    Some(0)
}

/// The long name that an abbreviation means, if it can mean one only.
fn long_name(given: &str, spec: Spec) -> Option<&'static str> {
    let names = || spec.long_flags.iter().chain(spec.long_values).chain(spec.long_optional).copied();
    let mut fitting = names().filter(|name| name.starts_with(given));
    let exact = names().find(|name| *name == given);
    exact.or_else(|| fitting.next().filter(|_| fitting.next().is_none()))
}

fn short_options(arg: &Arg, next: Option<&Arg>, spec: Spec, found: &mut Vec<Given>) -> Option<usize> {
    let mut chars = arg.text.chars().skip(1);
    while let Some(c) = chars.next() {
        if spec.values.contains(c) {
            let rest: String = chars.collect();
            let (value, taken) = if rest.is_empty() { (next?.clone(), 1) } else { (Arg::exact(rest), 0) };
            found.push(Given { name: c.to_string(), value: Some(value) });
            return Some(taken);
        }
        if spec.optional.contains(c) {
            let rest: String = chars.collect();
            let value = Some(rest).filter(|rest| !rest.is_empty()).map(Arg::exact);
            found.push(Given { name: c.to_string(), value });
            return Some(0);
        }
        if !spec.flags.contains(c) {
            return None;
        }
        found.push(Given { name: c.to_string(), value: None });
    }
    Some(0)
}

/// Operands of a program whose options may stand anywhere; options with a value are those of `values`.
pub(super) fn operands<'a>(args: &'a [Arg], values: &str) -> Vec<&'a Arg> {
    let mut found = Vec::new();
    let mut args = args.iter();
    let mut ended = false;
    while let Some(arg) = args.next() {
        if ended || !arg.is_option() {
            found.push(arg);
        } else if arg.text == "--" {
            ended = true;
        } else if !arg.text.starts_with("--") && wants_next(&arg.text, values) {
            // of several names that match, the first is the value
            found.extend(args.next().filter(|value| value.may_be_several()));
        }
    }
    found
}

/// Whether the value of the first letter that has one is the next argument.
fn wants_next(cluster: &str, values: &str) -> bool {
    cluster.find(|c| values.contains(c)).is_some_and(|at| at + 1 == cluster.len())
}

/// The value of an option that may stand anywhere: `-tDIR`, `-t DIR`, `--target-directory=DIR`.
pub(super) fn value_of(args: &[Arg], letter: char, long: &str, before: &str) -> Option<Arg> {
    for (at, arg) in args.iter().enumerate() {
        if arg.value() == Some("--") {
            return None;
        }
        let Some(text) = arg.value().and_then(|text| text.strip_prefix('-')) else { continue };
        if let Some(text) = text.strip_prefix('-') {
            let (name, value) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            if name.len() >= 3 && long.starts_with(name) {
                return value.map(Arg::exact).or_else(|| args.get(at + 1).cloned());
            }
        } else if let Some(place) = text.find(letter)
            && text.get(..place).is_some_and(|cluster| !cluster.contains(|c| before.contains(c)))
        {
            let value = text.get(place + letter.len_utf8()..).unwrap_or_default();
            return if value.is_empty() { args.get(at + 1).cloned() } else { Some(Arg::exact(value)) };
        }
    }
    None
}

/// The values of a long option that may stand anywhere, as often as it is given; `others` are options of their own with
/// which its name begins.
pub(super) fn values_of(args: &[Arg], long: &str, others: &[&str]) -> Vec<Arg> {
    let mut found = Vec::new();
    for (at, arg) in args.iter().enumerate().take_while(|(_, arg)| arg.value() != Some("--")) {
        let Some(text) = arg.value().and_then(|text| text.strip_prefix("--")) else { continue };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if name.len() >= 3 && long.starts_with(name) && !others.contains(&name) {
            found.extend(value.map(Arg::exact).or_else(|| args.get(at + 1).cloned()));
        }
    }
    found
}
