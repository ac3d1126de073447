//! Calls of functions by object identifier (`FunctionCall`): those of large objects, as libpq's `lo_*` and the JDBC driver's
//! `LargeObject` make them. Each is judged and recorded as the statement that would call the same function with the same
//! values. All others are refused.

use crate::mask::Shape;
use crate::messages::{Body, Malformed};

/// What comes back is looked at as bytes, whatever it is: no number has a text in its four or eight.
pub(super) const SHAPE: Shape = Shape { type_oid: BYTEA, format: 1, origin: (0, 0) };

const BYTEA: u32 = 17;

/// What a large object's function takes.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Int4,
    Int8,
    Oid,
    Bytes,
}

use Argument::{Bytes as Bytea, Int4, Int8, Oid};

/// Functions of `pg_catalog` (`pg_proc.dat`): their identifiers are the same in every PostgreSQL.
const FUNCTIONS: [(u32, &str, &[Argument]); 13] = [
    (715, "lo_create", &[Oid]),
    (952, "lo_open", &[Oid, Int4]),
    (953, "lo_close", &[Int4]),
    (954, "loread", &[Int4, Int4]),
    (955, "lowrite", &[Int4, Bytea]),
    (956, "lo_lseek", &[Int4, Int4, Int4]),
    (957, "lo_creat", &[Int4]),
    (958, "lo_tell", &[Int4]),
    (964, "lo_unlink", &[Oid]),
    (1004, "lo_truncate", &[Int4, Int4]),
    (3170, "lo_lseek64", &[Int4, Int8, Int4]),
    (3171, "lo_tell64", &[Int4]),
    (3172, "lo_truncate64", &[Int4, Int8]),
];

/// The statement that does what a `FunctionCall` does. `None`: it calls another function, or not as clients call these,
/// with every value in the binary format.
///
/// # Errors
/// It is no `FunctionCall`.
pub(super) fn statement(body: &[u8]) -> Result<Option<String>, Malformed> {
    let mut body = Body::new(body);
    let oid = body.u32()?;
    let formats = (0..body.count()?).map(|_| body.i16()).collect::<Result<Vec<_>, _>>()?;
    let values = (0..body.count()?).map(|_| body.value()).collect::<Result<Vec<_>, _>>()?;
    let result = body.i16()?;
    body.end()?;
    let Some((_, name, arguments)) = FUNCTIONS.iter().find(|(known, _, _)| *known == oid) else {
        return Ok(None);
    };
    let is_binary = result == 1 && !formats.is_empty() && formats.iter().all(|format| *format == 1);
    if !is_binary || arguments.len() != values.len() {
        return Ok(None);
    }
    let literals: Option<Vec<_>> =
        arguments.iter().zip(values).map(|(argument, value)| literal(*argument, value?)).collect();
    Ok(literals.map(|literals| format!("SELECT pg_catalog.{name}({})", literals.join(", "))))
}

fn literal(argument: Argument, value: &[u8]) -> Option<String> {
    Some(match argument {
        Int4 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        Int8 => format!("{}::int8", i64::from_be_bytes(value.try_into().ok()?)),
        Oid => u32::from_be_bytes(value.try_into().ok()?).to_string(),
        Bytea => format!("'\\x{}'::bytea", const_hex::encode(value)),
    })
}
