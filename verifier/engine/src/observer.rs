//! Who watches an execution: streams its tokens, shows its progress, ends it early.

use std::ops::ControlFlow;

/// Hears of an execution as it goes; any call can end it.
pub trait Observer {
    /// `done` of `total` known positions have been computed: the prompt's and, while verifying, the claimed ones.
    fn positions(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        let _ = (done, total);
        ControlFlow::Continue(())
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
