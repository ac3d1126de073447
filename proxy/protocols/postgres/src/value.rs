//! Values of the binary format as the server would write them, when their type is one of its own that is often met, or a
//! list of these.
//!
//! The binary forms are those of the server's `…send` functions, the texts those of its `…out` functions:
//! <https://github.com/postgres/postgres/tree/REL_18_STABLE/src/backend/utils/adt>. With a zone, times are shown in UTC.

mod array;
mod moment;
mod number;

use postgres_types::{Kind, Type};

/// A binary value of the type with this object identifier (`pg_type.oid`) as text; nothing of another type, or of what is
/// no such value.
pub fn text(type_oid: u32, value: &[u8]) -> Option<String> {
    Type::from_oid(type_oid).and_then(|kind| written(&kind, value))
}

fn written(kind: &Type, value: &[u8]) -> Option<String> {
    if let Kind::Array(element) = kind.kind() { array::text(element, value) } else { simple(kind, value) }
}

fn simple(kind: &Type, value: &[u8]) -> Option<String> {
    Some(match *kind {
        Type::BOOL => match value {
            [0] => "f".to_owned(),
            [1] => "t".to_owned(),
            _ => return None,
        },
        Type::INT2 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::INT4 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::INT8 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::OID | Type::XID | Type::CID => u32::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::XID8 => u64::from_be_bytes(value.try_into().ok()?).to_string(),
        Type::PG_LSN => {
            let place = u64::from_be_bytes(value.try_into().ok()?);
            format!("{:X}/{:X}", place >> 32, place & 0xffff_ffff)
        }
        Type::FLOAT4 => number::single(f32::from_be_bytes(value.try_into().ok()?)),
        Type::FLOAT8 => number::double(f64::from_be_bytes(value.try_into().ok()?)),
        Type::NUMERIC => number::numeric(value)?,
        Type::DATE => moment::date(value)?,
        Type::TIME => moment::time(value)?,
        Type::TIMETZ => moment::time_with_zone(value)?,
        Type::TIMESTAMP => moment::timestamp(value)?,
        Type::TIMESTAMPTZ => moment::timestamp_with_zone(value)?,
        Type::INTERVAL => moment::interval(value)?,
        Type::UUID => uuid::Uuid::from_slice(value).ok()?.to_string(),
        Type::INET | Type::CIDR => network(kind, value)?,
        Type::BYTEA => format!("\\x{}", const_hex::encode(value)),
        // A number says which version of the form it is.
        Type::JSONB | Type::JSONPATH => utf8(value.strip_prefix(&[1])?)?,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::JSON
        | Type::XML
        | Type::UNKNOWN => utf8(value)?,
        _ => return None,
    })
}

fn utf8(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// The mask is not shown of a whole `inet` address.
fn network(kind: &Type, value: &[u8]) -> Option<String> {
    let network = postgres_protocol::types::inet_from_sql(value).ok()?;
    let (address, mask) = (network.addr(), network.netmask());
    let whole = if address.is_ipv4() { 32 } else { 128 };
    Some(if *kind == Type::INET && mask == whole { address.to_string() } else { format!("{address}/{mask}") })
}

#[cfg(test)]
pub(crate) mod tests;
