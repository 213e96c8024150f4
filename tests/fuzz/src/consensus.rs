//! Messages of the consensus engine: what validators and followers send each other, and what lies in its write-ahead
//! log.

use assay_node::consensus::reencoded;

use crate::memory::beside;

/// Kinds of messages; an input's first byte chooses one.
const KINDS: u8 = 10;

/// What borsh takes at once for a list of bytes that says that it is long.
const BORSH_BYTES: usize = 1 << 20;

/// As many zeros for each kind, in several lengths: those of a fixed length accept one.
pub fn seeds() -> Vec<Vec<u8>> {
    let lengths = [9, 40, 120, 300];
    (0..KINDS).flat_map(|kind| lengths.map(|length| [&[kind][..], &vec![0; length]].concat())).collect()
}

/// What was read is written in a form that is read as the same again. The engine's own types may have several
/// encodings: nothing is signed or hashed but what is made of their content.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let kind = kind % KINDS;
    if let Some(again) = beside(bytes.len(), BORSH_BYTES, || reencoded(kind, bytes)) {
        assert_eq!(
            reencoded(kind, &again).as_ref(),
            Some(&again),
            "kind {kind} is not read as it is written"
        );
    }
}
