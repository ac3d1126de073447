//! Inclusion proofs, RFC 6962 §2.1.1, made in one pass over the leaves for many of them at once; and checked.

use crate::merkle::nodes::{Nodes, Span};
use crate::merkle::{CompactRange, Hash, node_hash};

/// Collects what the proofs of some leaves need, while the tree grows.
#[derive(Debug)]
pub struct Prover {
    /// Leaves to prove, with the siblings on their way, the lowest first.
    paths: Vec<(u64, Vec<Span>)>,
    nodes: Nodes,
}

/// That a leaf is in a tree: the siblings on its way to the root, the lowest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// Number of the leaf, from 0.
    pub index: u64,
    /// The siblings.
    pub path: Vec<Hash>,
}

impl Prover {
    /// A prover for these leaves in a tree of this size. It begins with what is known of the tree before the first
    /// leaf that will be pushed: with nothing, unless the log lost its beginning to retention.
    pub fn new(size: u64, leaves: impl IntoIterator<Item = u64>, begin: CompactRange) -> Self {
        let paths: Vec<_> =
            leaves.into_iter().filter(|leaf| *leaf < size).map(|leaf| (leaf, path(leaf, size))).collect();
        let nodes = Nodes::new(size, paths.iter().flat_map(|(_, path)| path), begin);
        Self { paths, nodes }
    }

    /// The next leaf of the tree.
    pub fn push(&mut self, leaf: Hash) {
        self.nodes.push(leaf);
    }

    /// The root over what was pushed.
    pub fn root(&self) -> Hash {
        self.nodes.tree().root()
    }

    /// The proofs; a leaf of which something is not known has none.
    pub fn finish(&self) -> Vec<Proof> {
        self.paths
            .iter()
            .filter_map(|(index, path)| {
                let path = path.iter().map(|span| self.nodes.root_of(*span)).collect::<Option<_>>()?;
                Some(Proof { index: *index, path })
            })
            .collect()
    }
}

/// Siblings on the way from a leaf to the root of a tree, the lowest first.
fn path(leaf: u64, size: u64) -> Vec<Span> {
    let (mut start, mut length) = (0, size);
    let mut path = Vec::new();
    while length > 1 {
        // The largest power of two smaller than the length.
        let left = 1 << (length - 1).ilog2();
        if leaf - start < left {
            path.push((start + left, length - left));
            length = left;
        } else {
            path.push((start, left));
            start += left;
            length -= left;
        }
    }
    path.reverse();
    path
}

impl Proof {
    /// The root of the tree of this size that has this leaf at the proof's place; `None` when the path does not have
    /// the length that it must have.
    pub fn root(&self, leaf: &Hash, size: u64) -> Option<Hash> {
        if self.index >= size {
            return None;
        }
        let spans = path(self.index, size);
        if spans.len() != self.path.len() {
            return None;
        }
        let mut hash = *leaf;
        for ((start, _), sibling) in spans.iter().zip(&self.path) {
            hash = if *start > self.index { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) };
        }
        Some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    fn leaf(number: u64) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn proofs_are_those_of_an_independent_implementation_at_every_size_and_leaf() {
        let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for size in 1..70_u64 {
            reference.push(leaf(size - 1));
            let mut prover = Prover::new(size, 0..size, CompactRange::default());
            (0..size + 3).for_each(|number| prover.push(leaf_hash(&leaf(number))));
            let proofs = prover.finish();
            assert_eq!(proofs.len() as u64, size);
            for proof in proofs {
                let expected = reference.prove_inclusion(usize::try_from(proof.index).unwrap());
                assert_eq!(proof.path.concat(), expected.as_bytes(), "leaf {} of {size}", proof.index);
                let hash = leaf_hash(&leaf(proof.index));
                assert_eq!(proof.root(&hash, size), Some(prover.root()));
                assert_ne!(proof.root(&[7; 32], size), Some(prover.root()));
                assert_eq!(proof.root(&hash, proof.index), None);
            }
        }
    }

    #[test]
    fn leaves_can_be_proved_after_the_beginning_is_gone() {
        for (gone, size) in [(5_u64, 23_u64), (16, 40), (1, 2), (33, 64)] {
            let mut begin = CompactRange::default();
            (0..gone).for_each(|number| begin.push(leaf_hash(&leaf(number))));
            let mut prover = Prover::new(size, gone..size, begin);
            (gone..size).for_each(|number| prover.push(leaf_hash(&leaf(number))));
            let proofs = prover.finish();
            assert_eq!(proofs.len() as u64, size - gone);
            for proof in proofs {
                assert_eq!(proof.root(&leaf_hash(&leaf(proof.index)), size), Some(prover.root()));
            }
        }
    }
}
