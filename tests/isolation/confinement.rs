//! What a confined process can do.

use assay_node::model_process::{Landlock, Probed};

use crate::process::json;
use crate::support::Lab;

/// What a process could do that was confined by these layers.
fn probed(layers: &str) -> Probed {
    serde_json::from_value(json(&["worker", "--probe", layers])).unwrap()
}

/// Ends a test that this kernel cannot run; on the machines that decide whether a change is taken, none may be left out.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "this machine must be able to confine processes: {why}");
    println!("SKIPPED: {why}");
}

#[test]
fn a_confined_process_opens_no_file_no_connection_and_no_program() {
    let Probed { confinement, possible } = probed("all");
    println!("this system gives: {confinement}");
    if confinement.is_whole() {
        assert!(possible.is_empty(), "{possible:?}");
    } else {
        skip(&format!("this kernel cannot confine a process; it could {possible:?}"));
    }
}

#[test]
fn landlock_alone_keeps_files_and_programs_away() {
    let Probed { confinement, possible } = probed("landlock");
    assert!(!confinement.system_calls && !confinement.limits);
    if confinement.landlock == Landlock::None {
        return skip("this kernel has no Landlock");
    }
    for denied in ["read /etc/passwd", "list /", "create a file", "start a program"] {
        assert!(!possible.contains(&denied.to_owned()), "{possible:?}");
    }
    // What it does not know is left to the filter.
    assert!(possible.contains(&"make a Unix socket".to_owned()), "{possible:?}");
}

#[test]
fn the_filter_alone_keeps_everything_away() {
    let Probed { confinement, possible } = probed("system-calls");
    assert!(confinement.landlock == Landlock::None && !confinement.limits);
    match confinement.system_calls {
        true => assert!(possible.is_empty(), "{possible:?}"),
        false => skip("this kernel filters no system calls"),
    }
}

#[test]
fn a_process_that_runs_a_model_has_limits_and_nothing_of_the_nodes() {
    let lab = Lab::new();
    let process = lab.process();
    let proc = format!("/proc/{}", process.pid().unwrap());
    let read = |file: &str| std::fs::read(format!("{proc}/{file}")).unwrap();
    let limits = String::from_utf8(read("limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(["Max open files", "Max core file size"].map(limit), ["0", "0"]);
    let memory: u64 = limit("Max data size").parse().unwrap();
    assert!((2 << 30..4 << 30).contains(&memory), "{memory}");
    assert_eq!(limit("Max cpu time"), "unlimited");
    // Its memory is hidden from others, and to whom it is not, its environment is empty.
    assert!(std::fs::read(format!("{proc}/environ")).unwrap_or_default().is_empty());
    let status = String::from_utf8(read("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}
