use super::*;
use codec::{Decode, Encode, MaxEncodedLen};
use proptest::prelude::*;

/// The eight entries of Certificate Transparency's reference tests (`merkle_tree_test.cc`).
const ENTRIES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Roots over the first n entries, from the same source.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn ct_leaves() -> Vec<Digest32> {
    ENTRIES.iter().map(|entry| leaf_hash(&hex::decode(entry).unwrap())).collect()
}

fn leaves(count: u16) -> Vec<Digest32> {
    (0..count).map(|i| leaf_hash(&i.to_le_bytes())).collect()
}

/// The definition, literally.
fn naive_root(leaves: &[Digest32]) -> Digest32 {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            node_hash(&naive_root(&leaves[..half]), &naive_root(&leaves[half..]))
        }
    }
}

#[test]
fn roots_equal_the_vectors_of_certificate_transparency() {
    let leaves = ct_leaves();
    for (count, root_hex) in ROOTS.iter().enumerate() {
        assert_eq!(root(&leaves[..count]), root_hex.parse().unwrap(), "{count} leaves");
    }
}

#[test]
fn inclusion_paths_equal_the_vectors_of_certificate_transparency() {
    let path = InclusionProof::of(&ct_leaves(), 5).unwrap().path;
    let expected = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(path, expected.map(|hex| hex.parse().unwrap()));
}

#[test]
fn consistency_paths_equal_the_vectors_of_certificate_transparency() {
    let leaves = ct_leaves();
    let expected = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(ConsistencyProof::of(&leaves, 6).unwrap().path, expected.map(|hex| hex.parse().unwrap()));
    let expected = [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ];
    assert_eq!(ConsistencyProof::of(&leaves[..5], 2).unwrap().path, expected.map(|hex| hex.parse().unwrap()));
}

#[test]
fn every_leaf_of_every_small_tree_has_a_proof_that_no_other_leaf_or_root_passes() {
    for size in 1..=33 {
        let leaves = leaves(size);
        let root = root(&leaves);
        for index in 0..size {
            let proof = InclusionProof::of(&leaves, u64::from(index)).unwrap();
            let leaf = leaves[usize::from(index)];
            assert_eq!(proof.verify(&leaf, &root), Ok(()), "{index} of {size}");
            assert_eq!(proof.verify(&leaf_hash(b"other"), &root), Err(ProofError::RootMismatch));
            assert_eq!(proof.verify(&leaf, &Digest32::ZERO), Err(ProofError::RootMismatch));
        }
        assert_eq!(InclusionProof::of(&leaves, u64::from(size)), Err(ProofError::OutOfRange));
    }
}

#[test]
fn a_proof_with_another_index_or_path_length_is_refused() {
    for size in 2..=17 {
        let leaves = leaves(size);
        let root = root(&leaves);
        for index in 0..size {
            let proof = InclusionProof::of(&leaves, u64::from(index)).unwrap();
            let leaf = &leaves[usize::from(index)];
            for other in (0..=u64::from(size)).filter(|other| *other != u64::from(index)) {
                assert!(InclusionProof { index: other, ..proof.clone() }.verify(leaf, &root).is_err());
            }
            let mut long = proof.clone();
            long.path.push(Digest32::ZERO);
            assert_eq!(long.verify(leaf, &root), Err(ProofError::PathLength));
            let mut short = proof.clone();
            short.path.pop();
            assert_eq!(short.verify(leaf, &root), Err(ProofError::PathLength));
        }
    }
}

#[test]
fn every_prefix_of_every_small_tree_is_provably_consistent_and_nothing_else_is() {
    for size in 1..=33 {
        let leaves = leaves(size);
        let new_root = root(&leaves);
        for old in 1..=usize::from(size) {
            let old_root = root(&leaves[..old]);
            let proof = ConsistencyProof::of(&leaves, old as u64).unwrap();
            assert_eq!(proof.verify(&old_root, &new_root), Ok(()), "{old} of {size}");
            assert!(proof.verify(&Digest32::ZERO, &new_root).is_err());
            assert!(proof.verify(&old_root, &Digest32::ZERO).is_err());
            let mut long = proof.clone();
            long.path.push(Digest32::ZERO);
            assert_eq!(long.verify(&old_root, &new_root), Err(ProofError::PathLength));
            let mut short = proof.clone();
            if short.path.pop().is_some() {
                assert!(short.verify(&old_root, &new_root).is_err());
            }
        }
    }
    assert_eq!(ConsistencyProof::of(&leaves(3), 0), Err(ProofError::OutOfRange));
    assert_eq!(ConsistencyProof::of(&leaves(3), 4), Err(ProofError::OutOfRange));
}

#[test]
fn a_frontier_whose_peaks_do_not_fit_its_size_does_not_decode() {
    let peak = Digest32::ZERO;
    for (size, peaks) in [(0u64, vec![peak]), (1, vec![]), (2, vec![peak, peak]), (u64::MAX, vec![peak; 64])]
    {
        assert!(Frontier::decode(&mut (size, peaks).encode().as_slice()).is_err(), "{size}");
    }
    let largest = (u64::MAX / 2, vec![peak; 63]).encode();
    assert_eq!(largest.len(), Frontier::max_encoded_len());
    assert!(Frontier::decode(&mut largest.as_slice()).is_ok());
}

proptest! {
    #[test]
    fn root_and_frontier_equal_the_literal_definition(count in 0u16..600) {
        let leaves = leaves(count);
        prop_assert_eq!(root(&leaves), naive_root(&leaves));
    }

    #[test]
    fn a_frontier_that_was_stored_and_read_goes_on_the_same(before in 0u16..300, after in 0u16..300) {
        let all = leaves(before + after);
        let (first, second) = all.split_at(usize::from(before));
        let mut frontier = Frontier::new();
        for leaf in first {
            frontier.append(*leaf);
        }
        let mut frontier = Frontier::decode(&mut frontier.encode().as_slice()).unwrap();
        for (index, leaf) in (u64::from(before)..).zip(second) {
            prop_assert_eq!(frontier.append(*leaf), index);
        }
        prop_assert_eq!(frontier.size(), u64::from(before + after));
        prop_assert_eq!(frontier.root(), root(&all));
    }

    #[test]
    fn hostile_proofs_are_refused_without_panic(
        index: u64, size: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let path: Vec<_> = path.into_iter().map(Digest32::from_bytes).collect();
        let inclusion = InclusionProof { index, size, path: path.clone() };
        prop_assert!(inclusion.verify(&Digest32::ZERO, &Digest32::ZERO).is_err());
        let consistency = ConsistencyProof { old_size: index, new_size: size, path };
        prop_assert!(consistency.verify(&Digest32::from_bytes([1; 32]), &Digest32::ZERO).is_err());
    }
}
