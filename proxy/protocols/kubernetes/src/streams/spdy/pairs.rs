//! Which two streams are one connection through a forwarded port: one for its bytes, one for why it failed.

use std::collections::VecDeque;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Half {
    Data,
    Error,
}

/// Numbers connections by when the first of their streams was opened. What the client calls a connection (`requestid`)
/// only tells which streams belong together: once both are there, the next of that name is another connection.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// How many connections have been opened.
    connections: u32,
    /// Those of which one stream is there, the oldest first.
    halves: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    name: String,
    half: Half,
    connection: u32,
}

impl Pairs {
    /// Number of the connection, from 0 on, to which a stream belongs that is opened now.
    pub(super) fn connection(&mut self, name: &str, half: Half) -> u32 {
        let other = self.halves.iter().position(|waiting| waiting.half != half && waiting.name == name);
        if let Some(waiting) = other.and_then(|at| self.halves.remove(at)) {
            return waiting.connection;
        }
        let connection = self.connections;
        self.connections = connection.saturating_add(1);
        if self.halves.len() >= MOST {
            self.halves.pop_front();
        }
        let name = name.to_owned();
        self.halves.push_back(Waiting { name, half, connection });
        connection
    }
}

/// Most connections of which one stream is missing. Clients open both at once.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_of_a_connection_have_its_number_and_a_name_may_come_again() {
        let mut pairs = Pairs::default();
        let opened = [
            ("a", Half::Error),
            ("b", Half::Error),
            ("b", Half::Data),
            ("a", Half::Data),
            ("a", Half::Error),
            ("a", Half::Data),
            ("", Half::Error),
            ("", Half::Data),
        ];
        let numbers = opened.map(|(name, half)| pairs.connection(name, half));
        assert_eq!(numbers, [0, 1, 1, 0, 2, 2, 3, 3]);
        assert!(pairs.halves.is_empty());
    }

    #[test]
    fn a_client_that_opens_no_second_streams_fills_no_memory() {
        let mut pairs = Pairs::default();
        for _ in 0..10 * MOST {
            pairs.connection("a", Half::Error);
        }
        assert_eq!(pairs.halves.len(), MOST);
    }
}
