//! The engine as its users see it: on synthetic models, executed and verified.

mod support;

mod equality;
mod batch;
mod rules;
mod constraints;
mod cheats;
mod failures;
mod files;
