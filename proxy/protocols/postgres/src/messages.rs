//! The closed table of messages
//! (<https://www.postgresql.org/docs/18/protocol-message-formats.html>). What is not in it is refused.
//!
//! Bodies are read by hand and strictly, by [`Body`]: pgwire's decoders panic on short bodies and read past a frame's
//! end into the next, so they see no byte from a peer. Its types write what this gateway says itself.

mod bodies;
mod body;

pub(crate) use bodies::{Column, bind, columns, name, parse, portal_or_statement, text};
pub(crate) use body::{Body, Malformed};

/// What a client may send once it is authenticated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Frontend {
    /// `Q`: analysed, judged, recorded.
    Query,
    /// `P`: analysed; refused at once if policy denies the text.
    Parse,
    /// `B`: remembered.
    Bind,
    /// `D`: passes; the column names in its answer are checked.
    Describe,
    /// `E`: judged, recorded.
    Execute,
    /// `C`: remembered.
    Close,
    /// `S`: passes; ends the discarding after a refusal.
    Sync,
    /// `H`: passes.
    Flush,
    /// `d`: passes while a permitted command copies in.
    CopyData,
    /// `c`: as above.
    CopyDone,
    /// `f`: as above.
    CopyFail,
    /// `X`: ends the session.
    Terminate,
    /// `F`: judged and recorded as a statement if it calls a function of large objects; any other is refused.
    FunctionCall,
}

impl Frontend {
    /// The message with that tag. `None`: unknown, the session ends.
    pub(crate) const fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            b'Q' => Self::Query,
            b'P' => Self::Parse,
            b'B' => Self::Bind,
            b'D' => Self::Describe,
            b'E' => Self::Execute,
            b'C' => Self::Close,
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail,
            b'X' => Self::Terminate,
            b'F' => Self::FunctionCall,
            _ => return None,
        })
    }
}

/// What a server may send once the session is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Backend {
    /// `1`: passes.
    ParseComplete,
    /// `2`: passes.
    BindComplete,
    /// `3`: passes.
    CloseComplete,
    /// `t`: passes.
    ParameterDescription,
    /// `n`: passes.
    NoData,
    /// `T`: types are remembered, names are checked.
    RowDescription,
    /// `D`: masked.
    DataRow,
    /// `C`: ends one result.
    CommandComplete,
    /// `I`: ends one result.
    EmptyQueryResponse,
    /// `s`: ends one portion of a result.
    PortalSuspended,
    /// `E`: texts are masked or withheld.
    ErrorResponse,
    /// `N`: texts are masked or withheld.
    NoticeResponse,
    /// `A`: texts are masked or withheld.
    NotificationResponse,
    /// `S`: remembered, masked.
    ParameterStatus,
    /// `Z`: ends an answer.
    ReadyForQuery,
    /// `G`: passes.
    CopyInResponse,
    /// `H`: the format is remembered.
    CopyOutResponse,
    /// `d`: masked.
    CopyData,
    /// `c`: passes.
    CopyDone,
    /// `V`: masked.
    FunctionCallResponse,
}

impl Backend {
    /// The message with that tag. `None`: unknown (`W`, `K`, `R` and `v` have no place after the start): the
    /// session ends, nothing passes unmasked.
    pub(crate) const fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b't' => Self::ParameterDescription,
            b'n' => Self::NoData,
            b'T' => Self::RowDescription,
            b'D' => Self::DataRow,
            b'C' => Self::CommandComplete,
            b'I' => Self::EmptyQueryResponse,
            b's' => Self::PortalSuspended,
            b'E' => Self::ErrorResponse,
            b'N' => Self::NoticeResponse,
            b'A' => Self::NotificationResponse,
            b'S' => Self::ParameterStatus,
            b'Z' => Self::ReadyForQuery,
            b'G' => Self::CopyInResponse,
            b'H' => Self::CopyOutResponse,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'V' => Self::FunctionCallResponse,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, Frontend};

    #[test]
    fn the_tables_are_closed() {
        let frontend: Vec<char> =
            (0..=255u8).filter(|tag| Frontend::of(*tag).is_some()).map(char::from).collect();
        let backend: Vec<char> =
            (0..=255u8).filter(|tag| Backend::of(*tag).is_some()).map(char::from).collect();
        assert_eq!(frontend.iter().collect::<String>(), "BCDEFHPQSXcdf");
        assert_eq!(backend.iter().collect::<String>(), "123ACDEGHINSTVZcdnst");
    }
}
