//! Running the runtime: externalities, panics, stack.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use sp_externalities::{Extensions, set_and_run_with_externalities};
use sp_runtime::StateVersion;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Ext, OverlayedChanges, TrieBackend};
use sp_trie::cache::LocalTrieCache;

use crate::signature::{SignatureVerifier, Verifier};

use super::error::ChainError;
use super::kv::Kv;
use super::store::Nodes;

/// The state of one block.
pub type State<K> = TrieBackend<Nodes<K>, BlakeTwo256, LocalTrieCache<BlakeTwo256>>;
/// Changes on top of a state.
pub type Overlay = OverlayedChanges<BlakeTwo256>;

/// Fixed by the runtime's `system_version`.
pub const STATE_VERSION: StateVersion = StateVersion::V1;

/// Stack of threads that run the runtime: decoding and dispatching nested calls takes megabytes in debug builds.
pub const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Runs `f` inside the runtime over `state`, where `signatures` answers for signatures of transactions; a panic
/// rolls back and becomes an error.
///
/// # Errors
/// [`ChainError::Panicked`] with the panic's words.
pub fn in_runtime<K: Kv, R>(
    state: &State<K>,
    overlay: &mut Overlay,
    signatures: &Arc<impl Verifier + 'static>,
    f: impl FnOnce() -> R,
) -> Result<R, ChainError> {
    let broken = |_| ChainError::Panicked("the overlay is already in use".into());
    overlay.enter_runtime().map_err(broken)?;
    let result = {
        let mut extensions = Extensions::default();
        extensions.register(SignatureVerifier(signatures.clone()));
        let mut ext = Ext::new(overlay, state, Some(&mut extensions));
        quietly(|| catch_unwind(AssertUnwindSafe(|| set_and_run_with_externalities(&mut ext, f))))
    };
    // Rolls back every layer that a panic left open.
    overlay.exit_runtime().map_err(|_| ChainError::Panicked("the overlay was not in use".into()))?;
    result.map_err(|payload| ChainError::Panicked(words(payload.as_ref())))
}

fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// An invalid block is a panic inside FRAME; its message belongs into our error, not onto the terminal.
fn quietly<R>(f: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = f();
    QUIET.set(outer);
    result
}

/// Runs `f` on a thread whose stack the runtime cannot overflow.
///
/// # Errors
/// [`ChainError::Panicked`] when the thread cannot be started or dies.
pub fn on_big_stack<R: Send>(f: impl FnOnce() -> R + Send) -> Result<R, ChainError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, f);
        let thread = thread.map_err(|error| ChainError::Panicked(error.to_string()))?;
        thread.join().map_err(|payload| ChainError::Panicked(words(payload.as_ref())))
    })
}
