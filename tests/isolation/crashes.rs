//! A process that ends: whoever waits learns how, and the next who asks is answered.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_engine::synthetic::Synthetic;
use assay_node::model_process::{CallError, LoadError, ModelProcess, Reply};
use assay_node::worker::Outcome;
use assay_protocol::request::F32;
use rustix::process::Signal;

use crate::processes::{is_worker, signal, until};
use crate::support::{Lab, config, execute, request};

/// What a call comes to whose process is killed while it has it, with that process's number.
fn killed_in<T: Send + 'static>(
    process: &Arc<ModelProcess>,
    run: impl FnOnce(&ModelProcess) -> T + Send + 'static,
) -> (T, u32) {
    let pid = process.pid().unwrap();
    // Stopped, it cannot answer before it is killed.
    signal(pid, Signal::STOP);
    let own = Arc::clone(process);
    let running = std::thread::spawn(move || run(&own));
    until("the call is at hand", || process.calls_at_hand() == 1);
    signal(pid, Signal::KILL);
    (running.join().unwrap(), pid)
}

#[test]
fn a_process_that_is_killed_in_a_run_is_an_error_and_the_next_run_works() {
    let lab = Lab::new();
    let (hosted, process) = (lab.hosted(), Arc::new(lab.process()));
    let request = request(&hosted, "the hand", 8);
    let call = execute(&request);
    let (died, pid) = killed_in(&process, move |process| process.call(call, None));
    let died = died.unwrap_err();
    assert!(matches!(&died, CallError::Died(how) if how.contains("SIGKILL")), "{died:?}");
    let again = process.call(execute(&request), None).unwrap();
    assert_eq!(again, hosted.answer(&execute(&request), &mut ()).unwrap());
    assert_ne!(process.pid().unwrap(), pid);
    assert!(process.serves());
}

#[test]
fn a_run_whose_process_is_killed_is_done_again_by_the_next() {
    let lab = Lab::new();
    let (hosted, process) = (lab.hosted(), Arc::new(lab.process()));
    let request = request(&hosted, "the hand", 8);
    let expected = hosted.answer(&execute(&request), &mut ()).unwrap();
    let (done, _) = killed_in(&process, move |process| process.call_again(&|| execute(&request), None));
    assert_eq!(done, Ok(expected));
}

#[test]
fn a_process_that_cannot_be_started_again_at_once_is_tried_again() {
    let lab = Lab::new();
    let (hosted, worker) = (lab.hosted(), config().program);
    let program = program(&lab, &format!("exec '{}' worker", worker.display()));
    let process = lab.load(&program, &lab.file).unwrap();
    let request = request(&hosted, "the hand", 4);
    let gone = program.with_extension("gone");
    std::fs::rename(&program, &gone).unwrap();
    signal(process.pid().unwrap(), Signal::KILL);
    let asked = || process.call(execute(&request), Some(Instant::now()));
    until("it was tried in vain", || matches!(asked(), Err(CallError::Away(how)) if how.contains("again")));
    std::fs::rename(&gone, &program).unwrap();
    assert_eq!(
        process.call(execute(&request), None),
        Ok(hosted.answer(&execute(&request), &mut ()).unwrap())
    );
}

#[test]
fn a_process_that_reads_another_model_than_the_first_does_not_answer() {
    let lab = Lab::new();
    let (other, mark) = (lab.dir.path().join("other.gguf"), lab.dir.path().join("mark"));
    std::fs::write(&other, Synthetic::default().gguf().unwrap()).unwrap();
    let (worker, other, mark) = (config().program, other.display().to_string(), mark.display().to_string());
    let worker = worker.display();
    let script = format!(
        "if [ -e {mark} ]; then exec {worker} worker 1<{other}; fi; : > {mark}; exec {worker} worker"
    );
    let process = lab.load(&program(&lab, &script), &lab.file).unwrap();
    let request = request(&lab.hosted(), "the hand", 4);
    signal(process.pid().unwrap(), Signal::KILL);
    until("it has read the other", || !process.serves());
    let refused = process.call(execute(&request), None).unwrap_err();
    assert!(matches!(&refused, CallError::GivenUp(how) if how.contains("another model")), "{refused:?}");
}

#[test]
fn who_does_not_wait_any_longer_ends_the_run() {
    let lab = Lab::new();
    let (hosted, process) = (lab.hosted(), lab.process());
    let mut long = request(&hosted, "the hand", 60_000);
    // An answer of one token again and again comes to no end for minutes.
    let first = hosted.answer(&execute(&long), &mut ()).unwrap();
    let Reply::Outcome(Outcome::Answer { answer, .. }) = first else { panic!("{first:?}") };
    assert!(answer.tokens.len() > 1);
    long.sampler.logit_bias = vec![(answer.tokens[0], F32::new(1e30))];
    let deadline = Instant::now() + Duration::from_millis(20);
    assert_eq!(process.call(execute(&long), Some(deadline)), Err(CallError::Late));
    until("the run has ended", || process.calls_at_hand() == 0);
    let short = request(&hosted, "the hand", 2);
    assert!(matches!(process.call(execute(&short), None), Ok(Reply::Outcome(_))));
}

#[test]
fn a_process_ends_with_the_model() {
    let lab = Lab::new();
    let process = lab.process();
    let pid = process.pid().unwrap();
    assert!(is_worker(pid));
    drop(process);
    assert!(!is_worker(pid));
}

#[test]
fn a_file_that_cannot_be_run_is_refused_with_what_is_wrong() {
    let lab = Lab::new();
    let poem = lab.dir.path().join("poem.gguf");
    std::fs::write(&poem, "Two roads diverged in a yellow wood").unwrap();
    let refused = lab.load(&config().program, &poem).err().unwrap();
    assert!(matches!(&refused, LoadError::Unusable(cause) if cause.contains("magic")), "{refused:?}");
}

#[test]
fn a_process_that_ends_while_it_reads_the_model_is_a_model_that_is_not_loaded() {
    let lab = Lab::new();
    let cases = [
        ("exit 3", "ended with the code 3"),
        ("kill -SEGV $$", "SIGSEGV"),
        // Standard input is the socket to the node.
        (r"printf '\377\377\377\377' >&0", "above the limit"),
        (r"printf '\001\000\000\000\377' >&0", "decoding a frame"),
        // A report, but not the one that is due.
        (r"printf '\001\000\000\000\001' >&0", "no greeting"),
        // Another version of these messages.
        (r"printf '\006\000\000\000\000\377\377\000\000\000' >&0", "speaks version 65535"),
    ];
    for (script, how) in cases {
        let refused = lab.load(&program(&lab, script), &lab.file).err().unwrap();
        assert!(matches!(&refused, LoadError::Died(told) if told.contains(how)), "{script}: {refused:?}");
    }
    let missing = lab.load(&lab.dir.path().join("missing"), &lab.file).err().unwrap();
    assert!(matches!(missing, LoadError::Start(_)), "{missing:?}");
}

/// A program that does this, and then waits until the node lets it go.
fn program(lab: &Lab, script: &str) -> PathBuf {
    let path = lab.dir.path().join("program");
    // Written by another process: while this one has a program open for writing, whatever its other threads start
    // has, too, and then it cannot be run.
    let mut write = Command::new("/bin/sh");
    write.args(["-c", r#"printf '#!/bin/sh\n%s\nexec cat >/dev/null\n' "$1" > "$0" && chmod +x "$0""#]);
    assert!(write.arg(&path).arg(script).status().unwrap().success());
    path
}
