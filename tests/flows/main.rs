//! Whole-system tests: the binary as a user runs it, over JSON-RPC, killed and started again.

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
mod refusals;
mod disk;
mod damage;
