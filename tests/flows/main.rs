//! Whole-system tests: the binary as a user runs it, over JSON-RPC, killed and started again.

#[path = "../../runtime/tests/flows/answers.rs"]
#[allow(dead_code)]
mod answers;
#[path = "../../runtime/tests/flows/books.rs"]
#[allow(dead_code)]
mod books;
#[path = "../../runtime/tests/flows/market.rs"]
#[allow(dead_code)]
mod market;
#[path = "../../runtime/tests/flows/pausing.rs"]
mod pausing;
#[path = "../../runtime/tests/support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
#[path = "../isolation/processes.rs"]
mod processes;

mod process;
mod parties;
mod tally;
mod kills;
mod storm;
mod claims;
mod hostile_files;
mod commands;
mod needles;
mod secrets;
mod keys;
mod rulings;
mod refusals;
mod disk;
mod damage;
mod traces;
mod tolerance;
mod validators;
#[cfg(target_os = "linux")]
mod isolation;
mod region;
mod stalls;
mod crooks;
mod sums;
mod misbehaviour;
mod third_parties;
mod verified;
mod network;
#[cfg(unix)]
mod network_process;
