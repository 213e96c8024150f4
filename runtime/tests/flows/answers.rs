//! What seats commit to: the right value and every way of being wrong.

use assay_manifest::Digest32;
use assay_protocol::commitment::{Claim, FailCode, Finish, Opening, Salt, ValueKind, trace_blind};

/// Tokens of the right answer.
pub const TOKENS: [u32; 3] = [11, 12, 13];
/// The same with its second token flipped.
pub const FLIPPED: [u32; 3] = [11, 99, 13];

pub fn salt() -> Salt {
    Salt::from_bytes([4; 32])
}

pub fn claim() -> Claim {
    Claim::of(&salt(), &TOKENS, Finish::Eos)
}

pub fn flipped_claim() -> Claim {
    Claim::of(&salt(), &FLIPPED, Finish::Eos)
}

/// An execution that fails at the prompt, as every seat finds.
pub fn failed_claim() -> Claim {
    Claim::of(&salt(), &[], Finish::Failed)
}

/// The claimed tokens are right, and this is the trace of the right weights.
pub fn right(round: u8) -> Opening {
    Opening { blind: trace_blind(&salt(), round, &trace(1), 0), ..opening(ValueKind::Ok) }
}

/// The same tokens from other weights: another trace.
pub fn other_weights(round: u8) -> Opening {
    Opening { blind: trace_blind(&salt(), round, &trace(2), 0), ..opening(ValueKind::Ok) }
}

/// The claimed token at position 1 should have been the right one.
pub fn reject(round: u8) -> Opening {
    let blind = trace_blind(&salt(), round, &trace(3), TOKENS[1]);
    Opening { position: 1, blind, ..opening(ValueKind::Reject) }
}

/// The computation fails for everybody.
pub fn failure(round: u8) -> Opening {
    let blind = trace_blind(&salt(), round, &trace(4), 0);
    Opening { code: FailCode::ContextOverflow, blind, ..opening(ValueKind::Fail) }
}

/// The same value as it is opened one round later.
pub fn a_round_later(opening: &Opening, round: u8) -> Opening {
    let known: [fn(u8) -> Opening; 4] = [right, other_weights, reject, failure];
    let value = known.into_iter().find(|value| value(round).blind == opening.blind);
    // Who copied a value knows nothing of its next round.
    value.map_or(*opening, |value| Opening { blind: value(round + 1).blind, ..*opening })
}

fn trace(mark: u8) -> Digest32 {
    Digest32::from_bytes([mark; 32])
}

fn opening(kind: ValueKind) -> Opening {
    Opening { kind, position: 0, code: FailCode::None, blind: Digest32::ZERO }
}
