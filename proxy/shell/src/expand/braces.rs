//! `{a,b}` and `{1..3}`, which stand for several words. Source: Bash Reference Manual, 3.5.1.

use super::super::found::Why;
use super::super::word::Piece;

/// So many words may come of one.
const WORDS_MAX: usize = 256;

/// The words that a word stands for.
pub(super) fn expanded(pieces: &[Piece]) -> Result<Vec<Vec<Piece>>, Why> {
    let (mut depth, mut most, mut commas) = (0_i32, 0, false);
    for piece in pieces {
        match piece {
            Piece::Brace('{') => depth += 1,
            Piece::Brace('}') => depth -= 1,
            Piece::Brace(_) => commas |= depth > 0,
            Piece::Text(text) => commas |= depth > 0 && text.contains(".."),
            Piece::Quoted(_)
            | Piece::Glob(_)
            | Piece::Tilde(_)
            | Piece::Variable { .. }
            | Piece::Substitution { .. }
            | Piece::Computed { .. } => {}
        }
        most = most.max(depth);
        if depth < 0 {
            break;
        }
    }
    if most == 0 || !commas {
        return Ok(vec![pieces.to_vec()]);
    }
    if depth != 0 || most > 8 {
        return Err(Why::new("braces that shells read differently"));
    }
    words(pieces)
}

fn words(pieces: &[Piece]) -> Result<Vec<Vec<Piece>>, Why> {
    let Some(open) = pieces.iter().position(|piece| *piece == Piece::Brace('{')) else {
        return Ok(vec![pieces.to_vec()]);
    };
    let (before, rest) = pieces.split_at(open);
    let rest = rest.get(1..).unwrap_or_default();
    let mut depth = 0;
    let close = rest.iter().position(|piece| {
        depth += i32::from(*piece == Piece::Brace('{')) - i32::from(*piece == Piece::Brace('}'));
        depth < 0
    });
    let close = close.ok_or_else(|| Why::new("braces that shells read differently"))?;
    let (inner, after) = rest.split_at(close);
    let after = words(after.get(1..).unwrap_or_default())?;
    let middles = members(inner)?;
    let mut out = Vec::new();
    for middle in &middles {
        for after in &after {
            if out.len() >= WORDS_MAX {
                return Err(Why::new(format!("braces stand for more than {WORDS_MAX} words")));
            }
            out.push([before, middle, after].concat());
        }
    }
    Ok(out)
}

/// What stands between a pair of braces: its members, or itself with the braces if it has none.
fn members(inner: &[Piece]) -> Result<Vec<Vec<Piece>>, Why> {
    let mut depth = 0;
    let mut parts = vec![Vec::new()];
    for piece in inner {
        if depth == 0 && *piece == Piece::Brace(',') {
            parts.push(Vec::new());
            continue;
        }
        depth += i32::from(*piece == Piece::Brace('{')) - i32::from(*piece == Piece::Brace('}'));
        if let Some(part) = parts.last_mut() {
            part.push(piece.clone());
        }
    }
    if parts.len() > 1 {
        let mut out = Vec::new();
        for part in parts {
            out.extend(words(&part)?);
            if out.len() > WORDS_MAX {
                return Err(Why::new(format!("braces stand for more than {WORDS_MAX} words")));
            }
        }
        return Ok(out);
    }
    if let [Piece::Text(text)] = inner
        && let Some(sequence) = sequence(text)?
    {
        return Ok(sequence.into_iter().map(|text| vec![Piece::Text(text)]).collect());
    }
    let whole = |part: &Vec<Piece>| [&[Piece::Brace('{')], part.as_slice(), &[Piece::Brace('}')]].concat();
    Ok(words(inner)?.iter().map(whole).collect())
}

/// `1..3`, `01..10..2`, `a..e`.
fn sequence(text: &str) -> Result<Option<Vec<String>>, Why> {
    let parts: Vec<&str> = text.split("..").collect();
    let (first, last, step) = match parts.as_slice() {
        [first, last] => (*first, *last, "1"),
        [first, last, step] => (*first, *last, *step),
        _ => return Ok(None),
    };
    let Ok(step) = step.parse::<i64>() else { return Ok(None) };
    let step = step.unsigned_abs().max(1);
    let letters = |text: &str| {
        let mut chars = text.chars();
        chars.next().filter(|c| c.is_ascii_alphabetic() && chars.next().is_none())
    };
    if let (Ok(from), Ok(to)) = (first.parse::<i64>(), last.parse::<i64>()) {
        let padded =
            [first, last].iter().any(|end| end.trim_start_matches('-').starts_with('0') && end.len() > 1);
        let width = if padded { first.len().max(last.len()) } else { 0 };
        let numbers = range(from, to, step)?;
        return Ok(Some(numbers.into_iter().map(|number| format!("{number:0width$}")).collect()));
    }
    if let (Some(from), Some(to)) = (letters(first), letters(last)) {
        if from.is_ascii_uppercase() != to.is_ascii_uppercase() {
            // among what lies between them are a backslash and brackets
            return Err(Why::new("braces that stand for more than letters"));
        }
        let letters = range(i64::from(u32::from(from)), i64::from(u32::from(to)), step)?;
        let letter = |code| u8::try_from(code).map(|code| char::from(code).to_string()).unwrap_or_default();
        return Ok(Some(letters.into_iter().map(letter).collect()));
    }
    Ok(None)
}

fn range(from: i64, to: i64, step: u64) -> Result<Vec<i64>, Why> {
    let (steps, up) = (from.abs_diff(to) / step, from <= to);
    if steps >= WORDS_MAX as u64 {
        return Err(Why::new(format!("braces stand for more than {WORDS_MAX} words")));
    }
    let at = |index: u64| {
        let away = i64::try_from(index * step).unwrap_or(0);
        if up { from.saturating_add(away) } else { from.saturating_sub(away) }
    };
    Ok((0..=steps).map(at).collect())
}
