//! Models in processes of their own: what these must not be able to do, and what happens when they end. They look at
//! processes by what Linux tells of them.

#![cfg(target_os = "linux")]

#[path = "../flows/process.rs"]
#[allow(dead_code)]
mod process;

#[allow(dead_code)]
mod processes;
mod support;
mod confinement;
mod crashes;
mod frames;
mod results;
