//! A whole node in this process, and clients that speak to it over its socket.

mod harness;
mod substrate;
mod subscriptions;
mod nesting;
mod ours;
mod limits;
