//! Who watches an execution: streams its tokens, shows its progress, ends it early.

use std::ops::ControlFlow;

use crate::sampler::Logprobs;

/// Hears of an execution as it goes; any call can end it.
pub trait Observer {
    /// `done` of `total` known positions have been computed: the prompt's and, while verifying, the claimed ones.
    fn positions(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        let _ = (done, total);
        ControlFlow::Continue(())
    }

    /// Whether [`Observer::logprobs`] is to be called, and for how many of the likeliest tokens.
    fn wants_logprobs(&self) -> Option<usize> {
        None
    }

    /// How likely the next token was, before [`Observer::token`] hears of it.
    fn logprobs(&mut self, logprobs: &Logprobs) {
        let _ = logprobs;
    }

    /// The next token of the answer; while verifying, a claimed token that is right.
    fn token(&mut self, token: u32) -> ControlFlow<()>;
}

/// Nobody watches.
impl Observer for () {
    fn token(&mut self, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
