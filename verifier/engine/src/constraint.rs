//! Rules that an answer keeps to, token by token: a set of words, a grammar, a schema.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sampler::TokenMask;

/// A rule of which tokens may follow one another, in one of its states.
///
/// An answer begins in the state that the caller gives. Before each token the engine asks the state which tokens may
/// come next, and leaves all others out of the choice as if their logits were −∞, after penalties and bias and before
/// everything else (`docs/NUMERICS.md`, "Sampling").
///
/// A state never changes, and both functions depend on nothing but the state and their arguments: whoever verifies an
/// answer begins in an equal state and must find the same. They are called on the engine's threads, for many
/// positions at once; a panic loses every job of the pass.
pub trait Constraint: Send + Sync {
    /// Allows the tokens that may come next, in a mask that allows none.
    ///
    /// A token that ends answers ([`Text::eos_tokens`](crate::text::Text::eos_tokens)) is like any other: without
    /// being allowed it is not chosen. Stop strings and the request's length end an answer in whatever state. Where
    /// nothing is allowed the computation fails, with
    /// [`FailCode::Unsupported`](assay_protocol::commitment::FailCode::Unsupported).
    fn allow_next(&self, mask: &mut TokenMask);

    /// The state after a token; none where the token is not allowed.
    fn after(&self, token: u32) -> Option<Arc<dyn Constraint>>;
}

/// The states of a constraint at the positions whose logits are looked at.
pub(crate) struct States {
    /// The position of the first state.
    first: usize,
    /// One a position; none where the tokens before it are not allowed.
    states: VecDeque<Option<Arc<dyn Constraint>>>,
}

impl States {
    /// An answer whose first token is chosen from the logits of `position`.
    pub fn new(start: Arc<dyn Constraint>, position: usize) -> Self {
        Self { first: position, states: VecDeque::from([Some(start)]) }
    }

    /// Follows the sequence's `tokens` up to the last of them, and forgets the states of positions before `visited`.
    pub fn follow(&mut self, tokens: &[u32], visited: usize) {
        for token in tokens.iter().skip(self.first + self.states.len()) {
            let before = self.states.back().and_then(Option::as_ref);
            self.states.push_back(before.and_then(|state| state.after(*token)));
        }
        let past = visited.saturating_sub(self.first).min(self.states.len() - 1);
        self.states.drain(..past);
        self.first += past;
    }

    /// The tokens that may follow a position; none where the tokens up to it are not allowed themselves.
    pub fn allowed(&self, position: usize, vocab_size: usize) -> TokenMask {
        let mut mask = TokenMask::none(vocab_size);
        let state = position.checked_sub(self.first).and_then(|index| self.states.get(index)?.as_ref());
        if let Some(state) = state {
            state.allow_next(&mut mask);
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each token is one more than the one before, up to 5.
    struct Counting(u32);

    impl Constraint for Counting {
        fn allow_next(&self, mask: &mut TokenMask) {
            if self.0 < 5 {
                mask.allow(self.0 + 1);
            }
        }

        fn after(&self, token: u32) -> Option<Arc<dyn Constraint>> {
            (token == self.0 + 1 && token <= 5).then(|| Arc::new(Self(token)) as _)
        }
    }

    fn allowed(states: &States, position: usize) -> Vec<u32> {
        let mask = states.allowed(position, 8);
        (0..8).filter(|token| mask.allows(*token)).collect()
    }

    #[test]
    fn states_follow_the_answer_and_those_of_visited_positions_are_forgotten() {
        // A prompt of three tokens; the answer is chosen from position 2 on.
        let sequence = [9, 9, 9, 1, 2, 3, 4, 5];
        let mut states = States::new(Arc::new(Counting(0)), 2);
        states.follow(&sequence[..3], 2);
        assert_eq!(allowed(&states, 2), [1]);
        states.follow(&sequence[..6], 3);
        assert_eq!((states.first, states.states.len()), (3, 3));
        assert_eq!([3, 4, 5].map(|position| allowed(&states, position)), [[2], [3], [4]]);
        states.follow(&sequence, 7);
        assert_eq!((states.first, allowed(&states, 7)), (7, vec![]));
    }

    #[test]
    fn nothing_follows_a_token_that_is_not_allowed() {
        let mut states = States::new(Arc::new(Counting(0)), 0);
        states.follow(&[9, 1, 3, 4], 0);
        assert_eq!(allowed(&states, 1), [2]);
        assert_eq!([2, 3].map(|position| allowed(&states, position).len()), [0, 0]);
    }
}
