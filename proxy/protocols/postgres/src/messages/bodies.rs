//! The bodies that this gateway looks into.

use super::body::{Body, Malformed};

/// `Parse`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Parse<'a> {
    /// Name of the prepared statement; empty: the unnamed one.
    pub(crate) name: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
    /// Types of its parameters, as sent: the same bytes are other values as another type.
    pub(crate) types: &'a [u8],
}

/// `Bind`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bind<'a> {
    /// Name of the portal.
    pub(crate) portal: &'a str,
    /// Name of the prepared statement.
    pub(crate) statement: &'a str,
    /// Parameter formats and values, as sent: what binds an approval besides the text.
    pub(crate) parameters: &'a [u8],
    /// Result formats: none (all text), one for all, or one each. 0 is text, 1 is binary.
    pub(crate) formats: Vec<i16>,
}

/// One column of `RowDescription`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Column<'a> {
    /// Its name.
    pub(crate) name: &'a [u8],
    /// Object identifier of the relation whose column it is, unchanged; 0 if it is none's.
    pub(crate) table: u32,
    /// The column's number in that relation.
    pub(crate) number: i16,
    /// Object identifier of its type.
    pub(crate) type_oid: u32,
    /// 0 is text, 1 is binary.
    pub(crate) format: i16,
}

/// `Query`, or any body that is one string.
pub(crate) fn text(body: &[u8]) -> Result<&str, Malformed> {
    let mut body = Body::new(body);
    let text = body.text()?;
    body.end()?;
    Ok(text)
}

pub(crate) fn parse(body: &[u8]) -> Result<Parse<'_>, Malformed> {
    let mut body = Body::new(body);
    let (name, text) = (name(&mut body)?, body.text()?);
    let mut rest = body;
    for _ in 0..body.count()? {
        body.u32()?;
    }
    body.end()?;
    Ok(Parse { name, text, types: rest.rest() })
}

pub(crate) fn bind(whole: &[u8]) -> Result<Bind<'_>, Malformed> {
    let mut body = Body::new(whole);
    let (portal, statement) = (name(&mut body)?, name(&mut body)?);
    let mut rest = body;
    for _ in 0..body.count()? {
        body.i16()?;
    }
    for _ in 0..body.count()? {
        body.value()?;
    }
    let mut tail = body;
    let (before, after) = (rest.rest(), tail.rest());
    let parameters = before.get(..before.len().saturating_sub(after.len())).unwrap_or_default();
    let formats = (0..body.count()?).map(|_| body.i16()).collect::<Result<_, _>>()?;
    body.end()?;
    Ok(Bind { portal, statement, parameters, formats })
}

/// The name of a statement or portal. The server looks at its first 63 bytes (`NAMEDATALEN`), so that two longer ones may
/// be one to it.
///
/// # Errors
/// It is longer.
pub(crate) fn name<'a>(body: &mut Body<'a>) -> Result<&'a str, Malformed> {
    let name = body.text()?;
    if name.len() > NAME_BYTES {
        return Err(Malformed("a name of more than 63 bytes"));
    }
    Ok(name)
}

const NAME_BYTES: usize = 63;

/// `Describe` and `Close`: `S` or `P`, and a name.
pub(crate) fn portal_or_statement(body: &[u8]) -> Result<(u8, &str), Malformed> {
    let mut body = Body::new(body);
    let kind = body.u8()?;
    if !matches!(kind, b'S' | b'P') {
        return Err(Malformed("it names neither a statement nor a portal"));
    }
    let name = name(&mut body)?;
    body.end()?;
    Ok((kind, name))
}

/// `RowDescription`.
pub(crate) fn columns(body: &[u8]) -> Result<Vec<Column<'_>>, Malformed> {
    let mut body = Body::new(body);
    let count = body.count()?;
    let mut columns = Vec::with_capacity(count.min(1664));
    for _ in 0..count {
        let name = body.cstring()?;
        let (table, number) = (body.u32()?, body.i16()?);
        let type_oid = body.u32()?;
        body.bytes(6)?;
        columns.push(Column { name, table, number, type_oid, format: body.i16()? });
    }
    body.end()?;
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::{Malformed, bind, columns, parse, portal_or_statement, text};
    use proptest::prelude::{any, prop, proptest};

    #[test]
    fn a_query_that_swallows_the_next_message_is_malformed() {
        assert_eq!(text(b"select 1\0"), Ok("select 1"));
        assert_eq!(text(b"select 1\0Q\0\0\0\x06x\0"), Err(Malformed("bytes follow its last field")));
        assert_eq!(text(b"select 1"), Err(Malformed("a string has no end")));
    }

    #[test]
    fn a_bind_gives_its_parameters_as_sent() {
        let body = b"p\0s\0\0\x01\0\0\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";
        let bind = bind(body).unwrap();
        assert_eq!((bind.portal, bind.statement, bind.formats), ("p", "s", vec![1]));
        assert_eq!(bind.parameters, b"\0\x01\0\0\0\x02\0\0\0\x01x\xff\xff\xff\xff");
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop((text(&bytes), parse(&bytes), bind(&bytes), portal_or_statement(&bytes), columns(&bytes)));
        }
    }
}
