//! A node that says what no node says: the process ends with what is wrong.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use assay_node::model_process::Start;
use assay_node::model_process::message::{Order, Report};
use assay_node::model_process::wire::{receive, send};

use crate::process::{assay, told};
use crate::support::{Lab, settings};

/// What a process does that hears this.
fn hearing(lab: &Lab, say: impl FnOnce(&mut UnixStream)) -> Output {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = assay();
    command.arg("worker").stdin(OwnedFd::from(theirs)).stderr(Stdio::piped());
    command.stdout(std::fs::File::open(&lab.file).unwrap());
    let child = command.spawn().unwrap();
    drop(command);
    say(&mut ours);
    drop(ours);
    child.wait_with_output().unwrap()
}

fn start(lab: &Lab) -> Start {
    Start::new(&settings(), lab.manifest.to_bytes())
}

#[test]
fn garbage_ends_the_process_with_what_is_wrong() {
    let lab = Lab::new();
    let cases: [(&str, &[u8]); 4] = [
        ("above the limit", &[0xff; 4]),
        ("decoding a frame", &[1, 0, 0, 0, 0xff]),
        ("has closed the connection", &[200, 0, 0, 0, 1]),
        ("a call before the start", &[9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (says, bytes) in cases {
        let output = hearing(&lab, |node| node.write_all(bytes).unwrap());
        assert_eq!(output.status.code(), Some(1), "{says}");
        assert!(told(&output).contains(says), "{says}: {}", told(&output));
    }
    let older = hearing(&lab, |node| send(node, &Order::Start(Start { version: 0, ..start(&lab) })).unwrap());
    assert!(told(&older).contains("speaks version 0"), "{}", told(&older));
}

#[test]
fn a_process_that_serves_ends_with_garbage_and_with_the_node() {
    let lab = Lab::new();
    let serve = |then: &[u8]| {
        hearing(&lab, |node| {
            send(node, &Order::Start(start(&lab))).unwrap();
            while !matches!(receive(node).unwrap(), Report::Ready(_)) {}
            node.write_all(then).unwrap();
        })
    };
    assert_eq!(serve(&[]).status.code(), Some(0));
    let garbage = serve(&[1, 0, 0, 0, 0xff]);
    assert_eq!(garbage.status.code(), Some(1));
    assert!(told(&garbage).contains("decoding a frame"), "{}", told(&garbage));
}
