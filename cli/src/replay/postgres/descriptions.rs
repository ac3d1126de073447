//! What a client was told of the columns of its statements.
//!
//! In the extended protocol, a client asks once for the columns of a statement and runs it many times: the record has
//! them with the first execution alone.

use crate::replay::cell::CellType;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Most statements whose columns are remembered; those that came first are given up.
const MOST: usize = 1_000;

/// Most columns of one that is remembered: as many as a table may have.
const MOST_COLUMNS: usize = 1_664;

/// Name and type of a column.
pub(super) type Column = (String, CellType);

/// The columns of a session's statements, by their texts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Descriptions(Rc<RefCell<Known>>);

#[derive(Debug, Default)]
struct Known {
    columns: HashMap<[u8; 32], Vec<Column>>,
    order: VecDeque<[u8; 32]>,
}

impl Descriptions {
    /// Remembers the columns of this text.
    pub(super) fn add(&self, text: &str, columns: &[Column]) {
        if columns.len() > MOST_COLUMNS {
            return;
        }
        let (mut known, digest) = (self.0.borrow_mut(), Sha256::digest(text).into());
        if known.columns.insert(digest, columns.to_vec()).is_none() {
            known.order.push_back(digest);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.columns.remove(&oldest);
        }
    }

    /// The columns of this text, as they were told last.
    pub(super) fn find(&self, text: &str) -> Option<Vec<Column>> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        self.0.borrow().columns.get(&digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_statements_are_remembered_as_there_is_room_for() {
        let descriptions = Descriptions::default();
        let columns = |name: &str| vec![(name.to_owned(), CellType::default())];
        for number in 0..MOST + 10 {
            let text = number.to_string();
            descriptions.add(&text, &columns("old"));
            descriptions.add(&text, &columns(&text));
        }
        assert_eq!(descriptions.find("9"), None);
        assert_eq!(descriptions.find("10"), Some(columns("10")));
        let wide = vec![(String::new(), CellType::default()); MOST_COLUMNS + 1];
        descriptions.add("wide", &wide);
        assert_eq!(descriptions.find("wide"), None);
    }
}
