//! Chosen subtrees of a tree that grows: what proofs are made of.

use crate::merkle::{CompactRange, Hash, node_hash};
use std::collections::HashMap;

/// A subtree: its first leaf, and its number of leaves.
pub(super) type Span = (u64, u64);

/// Roots of subtrees, learned while the tree grows.
#[derive(Debug)]
pub(super) struct Nodes {
    /// Leaves after which nothing more is learned.
    size: u64,
    /// Perfect subtrees that are needed.
    known: HashMap<Span, Option<Hash>>,
    tree: CompactRange,
}

impl Nodes {
    /// What these subtrees of a tree of this size need. It begins with what is known of the tree before the first leaf
    /// that will be pushed.
    pub(super) fn new<'a>(size: u64, spans: impl IntoIterator<Item = &'a Span>, begin: CompactRange) -> Self {
        let mut known = HashMap::new();
        for span in spans {
            known.extend(perfect(*span).into_iter().map(|node| (node, None)));
        }
        let (mut start, mut left) = (0, begin.size());
        for hash in begin.hashes() {
            let length = 1 << left.ilog2();
            if let Some(node) = known.get_mut(&(start, length)) {
                *node = Some(*hash);
            }
            start += length;
            left -= length;
        }
        Self { size, known, tree: begin }
    }

    /// The next leaf of the tree.
    pub(super) fn push(&mut self, leaf: Hash) {
        if self.tree.size() >= self.size {
            return;
        }
        let end = self.tree.size() + 1;
        let known = &mut self.known;
        self.tree.push_seeing(leaf, |length, hash| {
            if let Some(node) = known.get_mut(&(end - length, length)) {
                *node = Some(*hash);
            }
        });
    }

    /// The tree over what was pushed.
    pub(super) fn tree(&self) -> &CompactRange {
        &self.tree
    }

    /// Root of a subtree; `None` when something of it is not known.
    pub(super) fn root_of(&self, span: Span) -> Option<Hash> {
        let hashes: Option<Vec<Hash>> =
            perfect(span).iter().map(|node| self.known.get(node).copied().flatten()).collect();
        let hashes = hashes?;
        let (last, before) = hashes.split_last()?;
        Some(before.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
    }
}

/// The perfect subtrees of a subtree that begins where one of its size may begin.
fn perfect((mut start, mut length): Span) -> Vec<Span> {
    let mut spans = Vec::new();
    while length > 0 {
        let part = 1 << length.ilog2();
        spans.push((start, part));
        start += part;
        length -= part;
    }
    spans
}
