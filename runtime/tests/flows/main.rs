//! Jobs, stake and registrations on the composed ledger, to the unit.
//!
//! Every expected number is computed here from the clauses of `docs/PROTOCOL.md`; after every block all
//! invariants of the ledger are checked.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod books;
mod market;
mod script;

mod honest;
mod executors;
mod verifiers;
mod at_large;
mod disputes;
mod votes;
mod equivocation;
mod validators;
mod addresses;
mod attendance;
mod steps;
mod delivery;
mod recheck;
mod pausing;
mod pause;
mod queue;
mod stake;
mod lists;
mod specs;
mod registrations;
mod priority;
mod statuses;
mod store;
mod succession;
mod snapshot;
mod proxies;
mod parameters;
