//! Many sequences at once: one thread that owns them all and runs their next positions in common passes.
//!
//! Decoding reads every weight for each position; with several sequences in a pass it is read once for all of
//! them. Sequences join and leave between passes. A job waits in a bounded queue until there is room for the
//! longest sequence that it can become; who submits one waits when the queue is full. What a sequence computes
//! does not depend on its company (see [`forward`](crate::forward)), so this decides about time only.

mod feed;
mod prefix;
mod runner;

pub(crate) use self::feed::{Event, Feed};
pub(crate) use self::runner::{Job, Runner};
