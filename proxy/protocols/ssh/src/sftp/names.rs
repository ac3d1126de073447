//! Names and texts that a server gives: a listing shows as much as a file does.
//!
//! They are masked as what programs say is, each by itself, in whatever form a value stands there. A name that is masked
//! names no file any more.

use super::packet::{Fields, kind};
use super::{SftpError, framed, status};
use crate::mask::{OutputMasker, something_in};
use proxy_core::mask::Masker;

/// The packet as the client gets it. `None`: as it is.
///
/// # Errors
/// Its fields are not those of its kind.
pub(super) fn masked(masker: &Masker, packet: &[u8]) -> Result<Option<Vec<u8>>, SftpError> {
    let mut fields = Fields::of(packet);
    let (kind, id) = (fields.kind()?, fields.u32()?);
    match kind {
        kind::NAME => names(masker, id, &mut fields),
        kind::STATUS => {
            let code = fields.u32()?;
            // the oldest servers give no message
            let message = fields.bytes().unwrap_or_default();
            let shown = hidden(masker, message);
            Ok(shown.map(|shown| status(id, code, &String::from_utf8_lossy(&shown))))
        }
        kind::EXTENDED_REPLY => {
            let name = something_in(masker, packet, 0..packet.len());
            Ok(name.map(|name| {
                status(id, 3, &format!("portcullis: the answer holds what the policy masks ({name})"))
            }))
        }
        _ => Ok(None),
    }
}

/// A listing, or where a path leads: file names, lines about them, and attributes.
fn names(masker: &Masker, id: u32, fields: &mut Fields<'_>) -> Result<Option<Vec<u8>>, SftpError> {
    let count = fields.u32()?;
    let mut body = vec![kind::NAME];
    body.extend(id.to_be_bytes());
    body.extend(count.to_be_bytes());
    let mut changed = false;
    for _ in 0..count {
        let (name, line) = (fields.bytes()?, fields.bytes()?);
        let attributes = fields.attributes()?;
        let shown = hidden(masker, name);
        // what makes a name one does not always stand in the line about it
        let renamed = shown.as_ref().map(|shown| {
            line.strip_suffix(name).map_or_else(|| shown.clone(), |before| [before, shown].concat())
        });
        let about = renamed.as_deref().unwrap_or(line);
        let about = hidden(masker, about).or_else(|| renamed.clone());
        changed |= shown.is_some() || about.is_some();
        for text in [shown.as_deref().unwrap_or(name), about.as_deref().unwrap_or(line)] {
            body.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            body.extend(text);
        }
        body.extend(attributes);
    }
    if !fields.is_at_end() {
        return Err(SftpError::Malformed);
    }
    Ok(changed.then(|| framed(&body)))
}

/// A text with what must be hidden hidden. `None`: nothing must.
fn hidden(masker: &Masker, text: &[u8]) -> Option<Vec<u8>> {
    let mut shown = Vec::with_capacity(text.len());
    let mut output = OutputMasker::new(masker.clone());
    output.push(text, &mut shown);
    output.finish(&mut shown);
    (shown != text).then_some(shown)
}
