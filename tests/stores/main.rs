//! The ledger's stores and the journal against crashes: a disk that fails or tears at every operation, torn files,
//! killed processes, files that may not grow, and a whole job of which every write fails.

#![forbid(unsafe_code)]

#[path = "../../runtime/tests/flows/answers.rs"]
#[allow(dead_code)]
mod answers;
#[path = "../../runtime/tests/flows/books.rs"]
#[allow(dead_code)]
mod books;
#[path = "../../runtime/tests/flows/market.rs"]
#[allow(dead_code)]
mod market;
#[path = "../../runtime/tests/flows/script.rs"]
mod script;
#[path = "../../runtime/tests/support/mod.rs"]
mod support;

mod batches;
mod disk;
mod torn;
mod processes;
mod jobs;
mod journal;
