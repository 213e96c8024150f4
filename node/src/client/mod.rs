//! The command line's side of JSON-RPC: connect, read, sign locally, submit, wait.

mod chain;
mod submit;

pub use chain::{Balances, Client, ClientError};
pub use submit::{Included, SubmitError};
