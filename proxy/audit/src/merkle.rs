//! The Merkle tree over the records, RFC 6962 §2.1, kept as a compact range: one hash per set bit of the size.
//!
//! The whole tree is never in memory; 64 hashes are enough for any log.

mod consistency;
mod nodes;
mod proof;

pub use consistency::{ConsistencyProver, MAX_CONSISTENCY_HASHES, is_consistent};
pub use proof::{Proof, Prover};

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 || leaf)`, RFC 6962 §2.1.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// `SHA-256(0x01 || left || right)`, RFC 6962 §2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// `portcullis.chain.prev` of the record after the one with this leaf hash; zeros before the first record.
pub fn chain_link(previous: Option<&Hash>) -> Hash {
    previous.map_or([0; 32], |hash| Sha256::digest(hash).into())
}

/// The right edge of a tree that only grows: roots of its perfect subtrees, the largest first.
///
/// As many hashes as the size has set bits, so never more than 64.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CompactRange {
    size: u64,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// A range of a known size, as a segment header holds it; `None` when the hashes do not fit the size.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, the largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds one leaf hash on the right.
    pub fn push(&mut self, leaf: Hash) {
        self.push_seeing(leaf, |_, _| {});
    }

    /// As [`Self::push`]; shows every perfect subtree that ends with this leaf, as its number of leaves and its root.
    pub(crate) fn push_seeing(&mut self, leaf: Hash, mut see: impl FnMut(u64, &Hash)) {
        let (mut hash, mut length) = (leaf, 1);
        see(length, &hash);
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node_hash(&left, &hash);
                length *= 2;
                see(length, &hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root; that of an empty tree is the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut hashes = self.hashes.iter().rev();
        let Some(last) = hashes.next() else { return Sha256::digest([]).into() };
        hashes.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    #[test]
    fn root_equals_that_of_an_independent_implementation_at_every_size() {
        let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut range = CompactRange::default();
        for number in 0_u32..300 {
            let leaf = number.to_be_bytes().to_vec();
            range.push(leaf_hash(&leaf));
            reference.push(leaf);
            assert_eq!(
                range.root().as_slice(),
                reference.root().as_bytes().as_slice(),
                "size {}",
                number + 1
            );
        }
    }

    #[test]
    fn a_range_with_too_few_hashes_is_refused() {
        assert_eq!(CompactRange::from_parts(3, vec![[0; 32]]), None);
        assert!(CompactRange::from_parts(4, vec![[0; 32]]).is_some());
    }

    #[test]
    fn the_first_record_links_to_zeros() {
        assert_eq!(chain_link(None), [0; 32]);
        assert_ne!(chain_link(Some(&[0; 32])), [0; 32]);
    }
}
