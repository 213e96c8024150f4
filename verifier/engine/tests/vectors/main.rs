//! The vectors of `tests/vectors`, frozen: a change of any result is a new definition, never a new vector.
//!
//! Every file is made anew by the scalar reference and by the kernels of every instruction set of this CPU. Whole
//! models have no scalar reference; their kernels have.

mod lanes;
mod made;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use assay_kernels::Cpu;

use lanes::Lanes;
use made::form::File;
use made::functions::Reference;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors"))
}

#[track_caller]
fn assert_committed(files: &[File], by: &str) {
    for File { name, text } in files {
        let committed = fs::read_to_string(folder().join(name)).unwrap_or_default();
        for (line, (found, committed)) in (1..).zip(text.lines().zip(committed.lines())) {
            assert!(found == committed, "{by}: line {line} of {name} would be\n{found}\nbut is\n{committed}");
        }
        assert!(*text == committed, "{by}: {name} would have {} bytes, not {}", text.len(), committed.len());
    }
}

#[test]
fn the_reference_makes_the_vectors_of_operations() {
    assert_committed(&made::operations(&Reference), "reference");
}

#[test]
fn every_instruction_set_makes_the_vectors_of_operations() {
    for cpu in Cpu::available() {
        assert_committed(&made::operations(&Lanes::new(cpu)), cpu.name());
    }
}

#[test]
fn every_instruction_set_makes_the_vectors_of_models() {
    for cpu in Cpu::available() {
        assert_committed(&made::executions(&Lanes::new(cpu)), cpu.name());
    }
}

#[test]
fn every_file_of_vectors_is_made_here() {
    let made = made::operations(&Reference).into_iter().chain(made::executions(&Reference));
    let made: BTreeSet<String> = made.map(|file| file.name).collect();
    let names =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(found, made);
}
