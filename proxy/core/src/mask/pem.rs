//! Private keys, PEM and `PuTTY`'s: many lines, with or without an end, also wrapped in base64.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use memchr::memmem;

/// How far behind its header the end of a key is looked for, in bytes. What goes on longer and is nothing but lines of a
/// key is hidden up to its end, however far.
pub(super) const REACH: usize = 16 * 1024;

/// Shortest key material worth hiding: less is a mention, not a key.
const MATERIAL: usize = 32;

/// Bytes in which the header line must end.
const HEADER: usize = 130;

/// Lines between the header and the first line of base64, at most.
const FIELDS: usize = 8;

/// So many bytes further on or back than in the first line the base64 of another may start: a time has fewer digits.
const SHIFT: usize = 10;

/// Keyword of a header, in lower case.
pub(super) const BEGIN: &str = "-----begin";
/// Keyword of a header wrapped in base64, in lower case.
pub(super) const WRAPPED: &str = "ls0tls1crudjti";
/// Keyword of a key of `PuTTY`, in lower case, and its form.
pub(super) const PUTTY: &str = "putty-user-key-file-";
const PUTTY_FORM: &[u8] = b"PuTTY-User-Key-File-";
/// What the last line of a key of `PuTTY` begins with.
const PUTTY_END: &[u8] = b"Private-MAC:";

/// Finds the private key whose header starts at `start`.
pub(super) fn key(text: &[u8], start: usize) -> Option<(usize, usize)> {
    next_key(text, start, &mut 0)
}

/// The same of one header after the other: no line of a key starts between the last one and `barren`, so that nothing
/// is looked through for each header again.
pub(super) fn next_key(text: &[u8], start: usize, barren: &mut usize) -> Option<(usize, usize)> {
    let body = start + header(text.get(start..)?)?;
    let rest = text.get(body..)?;
    let near = rest.get(..REACH).unwrap_or(rest);
    let from = body.max(*barren);
    let until = body + near.len();
    let line = text.get(from..until).and_then(longest);
    *barren = line.map_or(until.saturating_sub(MATERIAL).max(from), |at| from + at);
    line?;
    if let Some(end) = footer(near) {
        return has_material(rest.get(..end)?).then_some((start, body + end));
    }
    let mut end = material(near).max(lines(near).0);
    if end >= REACH {
        // longer than any key: hide all of it, up to an end if there is one
        end = footer(rest).unwrap_or(rest.len());
    }
    is_like_key(rest.get(..end)?).then_some((start, body + end))
}

/// Length of a private key's header at the start of `text`.
pub(super) fn header(text: &[u8]) -> Option<usize> {
    if let Some(rest) = text.strip_prefix(PUTTY_FORM) {
        return (rest.first().is_some_and(u8::is_ascii_digit) && rest.get(1) == Some(&b':'))
            .then_some(PUTTY_FORM.len() + 2);
    }
    let line = text.get(..HEADER).unwrap_or(text);
    let (dashes, rest) = line.split_at_checked(BEGIN.len())?;
    if !dashes.eq_ignore_ascii_case(BEGIN.as_bytes()) {
        return None;
    }
    let dashes = rest.windows(5).position(|window| window == b"-----")?;
    let label = rest.get(..dashes)?.to_ascii_uppercase();
    let is_label = label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'_' | b'-'));
    let is_key = label.windows(11).any(|window| window == b"PRIVATE KEY");
    (is_label && is_key).then_some(BEGIN.len() + dashes + 5)
}

/// Where the first header of a private key in `text` starts, and its length.
pub(super) fn first_header(text: &[u8]) -> Option<(usize, usize)> {
    let found = |at: usize| text.get(at..).and_then(header).map(|length| (at, length));
    let pem = dashed(text, b"BEGIN").find_map(found);
    let putty = memmem::find_iter(text, PUTTY_FORM).find_map(found);
    [pem, putty].into_iter().flatten().min()
}

/// Where five dashes and `word`, in any case, stand.
fn dashed<'t>(text: &'t [u8], word: &'static [u8]) -> impl Iterator<Item = usize> + 't {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = from + memmem::find(text.get(from..)?, b"-----")?;
            let more = text.get(at + 5..)?.iter().take_while(|b| **b == b'-').count();
            from = at + 5 + more;
            if text.get(from..from + word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word)) {
                return Some(from - 5);
            }
        }
    })
}

/// Where the end line in `text` ends, and whether it is there whole.
fn end_line(text: &[u8]) -> Option<(usize, bool)> {
    let pem = dashed(text, b"END").next().map(|line| line + 8);
    let putty = memmem::find(text, PUTTY_END).map(|line| line + PUTTY_END.len());
    let at = [pem, putty].into_iter().flatten().min()?;
    let rest = text.get(at..)?;
    let near = rest.get(..HEADER).unwrap_or(rest);
    if pem == Some(at) {
        let dashes = near.windows(5).position(|window| window == b"-----");
        return Some((at + dashes.map_or(0, |dashes| dashes + 5), dashes.is_some() || rest.len() >= HEADER));
    }
    let blank = near.iter().take_while(|b| **b == b' ').count();
    let mac = near.iter().skip(blank).take_while(|b| b.is_ascii_hexdigit()).count();
    Some((at + blank + mac, rest.len() > blank + mac))
}

/// Where the end line in `text` ends.
pub(super) fn footer(text: &[u8]) -> Option<usize> {
    end_line(text).map(|(end, _)| end)
}

/// Bytes in which an end line must be found whole.
pub(super) const FOOTER: usize = HEADER + PUTTY_END.len();

/// Where the end line in `text` ends, once enough of it is there to tell.
pub(super) fn whole_footer(text: &[u8]) -> Option<usize> {
    end_line(text).and_then(|(end, is_whole)| is_whole.then_some(end))
}

/// Whether what has come behind a header, without an end line so far, looks as if the rest of a key were to come.
pub(super) fn goes_on(body: &[u8]) -> bool {
    material(body) == body.len() || lines(body).1
}

/// Up to where the lines behind a header are those of a key, whatever stands before each of them, as the time does in
/// logs; and whether nothing tells that it is over.
fn lines(body: &[u8]) -> (usize, bool) {
    let mut lines = body.split_inclusive(|b| matches!(b, b'\n' | b'\r'));
    // what else the header's line says
    let mut at = lines.next().map_or(0, <[u8]>::len);
    let (mut end, mut base64, mut short, mut others, mut is_prose) = (0, None, 0, 0, false);
    for line in lines {
        at += line.len();
        let said = line.trim_ascii_end();
        let is_whole = line.ends_with(b"\n") || line.ends_with(b"\r");
        // of an empty line what stands before each is left: one word
        let is_field = is_whole && (said.windows(2).any(|two| two == b": ") || !said.contains(&b' '));
        if said.is_empty() {
            continue;
        }
        if let Some(start) = key_line(said, base64) {
            (short, end) = (0, at);
            base64.get_or_insert(start);
            continue;
        }
        match base64 {
            Some(start) if short < 2 && is_short(said, start) => (short, end) = (short + 1, at),
            Some(_) if !is_field => return (end, !is_whole),
            Some(_) | None if others == FIELDS => return (end, false),
            Some(_) | None => {
                others += 1;
                // one word that holds a hash stands before no line of a key
                is_prose |= !is_field || (!said.contains(&b' ') && longest(said).is_some());
            }
        }
    }
    (end, base64.is_some() || !is_prose)
}

/// Whether base64 starts at `start` of a line and fills the rest, as in the last line of a key.
fn is_short(line: &[u8], start: usize) -> bool {
    line.get(start..).is_some_and(|last| !last.is_empty() && last.iter().all(|b| is_standard(*b)))
}

/// Where the base64 of a key's line starts: it goes on to the end, but for quotes and bars, or fills a string up to its
/// quote. It starts about where that of the `first` line did; of the first one it must look like a key's, for hashes and
/// names stand in lines as well.
fn key_line(line: &[u8], first: Option<usize>) -> Option<usize> {
    pieces(line).find_map(|(at, piece)| {
        let rest = line.get(at + piece.len()..).unwrap_or_default();
        let is_placed = first.map_or_else(|| is_mixed(piece), |first| first.abs_diff(at) <= SHIFT);
        (is_placed && is_rest_of_line(rest)).then_some(at)
    })
}

/// Whether nothing is said behind the base64 in a line, or a string ends there.
fn is_rest_of_line(rest: &[u8]) -> bool {
    let mut rest = rest;
    while let Some(next) = rest.strip_prefix(b"\\n").or_else(|| rest.strip_prefix(b"\\r")) {
        rest = next;
    }
    let bare = rest.strip_prefix(b"\\").unwrap_or(rest);
    // a colour may be over
    let is_colour = rest.starts_with(b"\x1b[") && rest.len() <= 8;
    is_colour || matches!(bare.first(), Some(b'"' | b'\'')) || !rest.iter().any(u8::is_ascii_alphanumeric)
}

/// Whether base64 looks like that of random bytes: no hash, which has digits and letters up to F in one case, no path.
fn is_mixed(piece: &[u8]) -> bool {
    let padding = piece.iter().rev().take_while(|b| **b == b'=').count();
    let bare = piece.get(..piece.len() - padding).unwrap_or_default();
    let value = bare.rsplit(|b| *b == b'=').next().unwrap_or_default();
    let has = |is: fn(&u8) -> bool| value.iter().any(is);
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && !value.iter().all(u8::is_ascii_hexdigit)
}

/// Pieces of base64 as long as a key's lines, and where they start.
fn pieces(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    text.split(|b| !is_standard(*b))
        .map(move |piece| {
            let at = next;
            next += piece.len() + 1;
            (at, piece)
        })
        .filter(|(_, piece)| piece.len() >= MATERIAL)
}

/// Where base64 as long as a key's lines starts in `line`.
fn longest(line: &[u8]) -> Option<usize> {
    pieces(line).next().map(|(at, _)| at)
}

/// Length of what can be key material, its headers, and line ends written in any way: behind the header's line, lines
/// of one word, or that base64 of a key begins or ends, or that may go on.
fn material(text: &[u8]) -> usize {
    let possible = text.get(..possible(text)).unwrap_or_default();
    let mut length = 0;
    for (number, line) in possible.split_inclusive(|b| matches!(b, b'\n' | b'\r')).enumerate() {
        let said = line.trim_ascii();
        let is_whole = length + line.len() < text.len() || line.ends_with(b"\n") || line.ends_with(b"\r");
        if number > 0 && is_whole && said.contains(&b' ') && !is_edged(said) {
            break;
        }
        length += line.len();
    }
    length
}

/// Whether base64 of a key begins or ends a line.
fn is_edged(line: &[u8]) -> bool {
    pieces(line).any(|(at, piece)| (at == 0 || at + piece.len() == line.len()) && is_mixed(piece))
}

/// Length of what has only bytes of key material, its headers, and line ends written in any way.
fn possible(text: &[u8]) -> usize {
    text.iter()
        .position(|b| {
            !(is_standard(*b)
                || matches!(b, b'\\' | b'\n' | b'\r' | b' ' | b'\t' | b':' | b',' | b'-' | b'"' | b'\''))
        })
        .unwrap_or(text.len())
}

/// Standard base64.
fn is_standard(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Whether there is one unbroken piece of base64 long enough.
fn has_material(text: &[u8]) -> bool {
    longest(text).is_some()
}

/// Whether there is one that looks like a key's, where no end line tells.
fn is_like_key(text: &[u8]) -> bool {
    pieces(text).any(|(_, piece)| is_mixed(piece))
}

/// Finds the base64 of a private key that starts at `start`.
pub(super) fn wrapped(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let rest = text.get(start..)?;
    // the header first: it is cheap, and most of what starts like this is no key
    let near = rest.get(..256).unwrap_or(rest);
    let head: Vec<u8> = near
        .iter()
        .copied()
        .take_while(|b| is_base64(*b) || matches!(b, b'\n' | b'\r'))
        .filter(|b| is_base64(*b))
        .take(160)
        .collect();
    header(&decoded(&head)?)?;
    let mut length = 0;
    while let Some(byte) = rest.get(length) {
        let is_break = matches!(byte, b'\n' | b'\r')
            && rest.get(length + 1).is_some_and(|next| is_base64(*next) || *next == b'\n');
        if !is_base64(*byte) && !is_break {
            break;
        }
        length += 1;
    }
    Some((start, start + length))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Decodes base64, standard or for URLs, padded or not; a last incomplete group is left out.
pub(super) fn decoded(base64: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let mut standard: Vec<u8> = base64
        .iter()
        .filter(|b| !matches!(b, b'\r' | b'\n' | b'\\'))
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    while standard.last() == Some(&b'=') {
        standard.pop();
    }
    if standard.len() % 4 == 1 {
        standard.pop();
    }
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(standard).ok()
}
