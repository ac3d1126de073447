//! Consistency proofs, RFC 6962 §2.1.2: that an earlier tree is the beginning of a later one; made in one pass over the
//! leaves between, and checked.

use crate::merkle::nodes::{Nodes, Span};
use crate::merkle::{CompactRange, Hash, node_hash};

/// Most hashes of a proof, for trees of any size.
pub const MAX_CONSISTENCY_HASHES: usize = 63;

/// Collects what the proof needs, while the tree grows.
#[derive(Debug)]
pub struct ConsistencyProver {
    spans: Vec<Span>,
    nodes: Nodes,
    size: u64,
}

impl ConsistencyProver {
    /// A prover that `earlier` is the beginning of a tree of this size. The leaves after it have to be pushed.
    pub fn new(earlier: CompactRange, size: u64) -> Self {
        let spans = spans(earlier.size(), size);
        let nodes = Nodes::new(size, &spans, earlier);
        Self { spans, nodes, size }
    }

    /// The next leaf of the tree; those after its end are not looked at.
    pub fn push(&mut self, leaf: Hash) {
        self.nodes.push(leaf);
    }

    /// The later tree and the proof; `None` when leaves are missing.
    pub fn finish(&self) -> Option<(&CompactRange, Vec<Hash>)> {
        let tree = Some(self.nodes.tree()).filter(|tree| tree.size() == self.size)?;
        let proof = self.spans.iter().map(|span| self.nodes.root_of(*span)).collect::<Option<_>>()?;
        Some((tree, proof))
    }
}

/// The subtrees whose roots are the proof, in its order. From nothing to anything the proof is empty.
fn spans(earlier: u64, size: u64) -> Vec<Span> {
    if earlier == 0 {
        return Vec::new();
    }
    let (mut start, mut length, mut old) = (0, size, earlier);
    let mut spans = Vec::new();
    while old < length {
        // The largest power of two smaller than the length.
        let left = 1 << (length - 1).ilog2();
        if old <= left {
            spans.push((start + left, length - left));
            length = left;
        } else {
            spans.push((start, left));
            start += left;
            length -= left;
            old -= left;
        }
    }
    // The earlier tree as a whole is known to whoever checks.
    if start > 0 {
        spans.push((start, length));
    }
    spans.reverse();
    spans
}

/// Whether this proves that the tree of the first size and root is the beginning of the second (RFC 9162 §2.1.4.2).
pub fn is_consistent(earlier: (u64, &Hash), later: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (size, root)) = (earlier, later);
    if old_size == 0 || old_size == size {
        return proof.is_empty() && (old_size == 0 || old_root == root);
    }
    if old_size > size || proof.len() > MAX_CONSISTENCY_HASHES {
        return false;
    }
    // A perfect earlier tree is a node of the later one, and not in the proof.
    let seed = old_size.is_power_of_two().then_some(*old_root);
    let mut path = seed.into_iter().chain(proof.iter().copied());
    let Some(first) = path.next() else { return false };
    let shared = (old_size - 1).trailing_ones();
    let (mut old_node, mut node) = ((old_size - 1) >> shared, (size - 1) >> shared);
    let (mut old_hash, mut hash) = (first, first);
    for sibling in path {
        if node == 0 {
            return false;
        }
        if old_node & 1 == 1 || old_node == node {
            old_hash = node_hash(&sibling, &old_hash);
            hash = node_hash(&sibling, &hash);
            while old_node & 1 == 0 && old_node != 0 {
                (old_node, node) = (old_node >> 1, node >> 1);
            }
        } else {
            hash = node_hash(&hash, &sibling);
        }
        (old_node, node) = (old_node >> 1, node >> 1);
    }
    node == 0 && old_hash == *old_root && hash == *root
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

    fn tree(size: u64) -> CompactRange {
        let mut tree = CompactRange::default();
        (0..size).for_each(|number| tree.push(leaf_hash(&leaf(number))));
        tree
    }

    fn proof(old: u64, size: u64) -> Vec<Hash> {
        let mut prover = ConsistencyProver::new(tree(old), size);
        (old..size).for_each(|number| prover.push(leaf_hash(&leaf(number))));
        let (tree_of_prover, proof) = prover.finish().unwrap();
        assert_eq!(*tree_of_prover, tree(size));
        proof
    }

    #[test]
    fn proofs_are_those_of_an_independent_implementation_and_prove() {
        let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for size in 1..70_u64 {
            reference.push(leaf(size - 1));
            for old in 1..size {
                let expected = reference.prove_consistency(usize::try_from(size - old).unwrap());
                let proof = proof(old, size);
                assert_eq!(proof.concat(), expected.as_bytes(), "{old} to {size}");
                let (earlier, later) = (tree(old).root(), tree(size).root());
                assert!(is_consistent((old, &earlier), (size, &later), &proof), "{old} to {size}");
                assert!(!is_consistent((old, &[7; 32]), (size, &later), &proof), "{old} to {size}");
                assert!(!is_consistent((old, &earlier), (size, &[7; 32]), &proof), "{old} to {size}");
                assert!(!is_consistent((size, &later), (old, &earlier), &proof));
                let mut longer = proof.clone();
                longer.push([0; 32]);
                assert!(!is_consistent((old, &earlier), (size, &later), &longer));
                for changed in 0..proof.len() {
                    let mut proof = proof.clone();
                    proof[changed][0] ^= 1;
                    assert!(!is_consistent((old, &earlier), (size, &later), &proof), "{old} to {size}");
                }
                let shorter = proof.split_last().map_or(&[][..], |(_, rest)| rest);
                assert!(proof.is_empty() || !is_consistent((old, &earlier), (size, &later), shorter));
            }
        }
    }

    #[test]
    fn nothing_and_the_same_need_no_proof() {
        let root = tree(5).root();
        assert!(is_consistent((0, &[0; 32]), (5, &root), &[]));
        assert!(!is_consistent((0, &[0; 32]), (5, &root), &[[0; 32]]));
        assert!(is_consistent((5, &root), (5, &root), &[]));
        assert!(!is_consistent((5, &[1; 32]), (5, &root), &[]));
        assert_eq!(proof(0, 5), Vec::<Hash>::new());
    }

    #[test]
    fn a_prover_without_all_leaves_gives_nothing() {
        let mut prover = ConsistencyProver::new(tree(3), 7);
        (3..6).for_each(|number| prover.push(leaf_hash(&leaf(number))));
        assert!(prover.finish().is_none());
    }
}
