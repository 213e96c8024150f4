//! One execution, one trace root: whatever the threads, the chunks, the instruction set, the company and the role.

use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_engine::synthetic::{Head, Synthetic};
use assay_engine::{Engine, Execution, Model, Settings, Verified};
use assay_kernels::{Cpu, WeightType};
use assay_protocol::request::{Request, Sampler};

use crate::support::{LONG, engine, execute, model, request, sampled, verify};

const THREADS: [usize; 3] = [1, 2, 4];
const CHUNKS: [usize; 5] = [1, 3, 7, 64, 10_000];
/// Sequences that run beside the one that is looked at.
const COMPANY: usize = 7;

/// Every combination of instruction set, threads and chunks, each with an engine of its own.
fn engines() -> Vec<(String, Engine)> {
    let mut engines = Vec::new();
    for cpu in Cpu::available() {
        for threads in THREADS {
            for chunk in CHUNKS {
                let size = |size| NonZeroUsize::new(size).unwrap();
                let settings = Settings {
                    threads: size(threads),
                    prefill_chunk: size(chunk),
                    ..Settings::for_this_machine()
                };
                let name = format!("{}, {threads} threads, chunks of {chunk}", cpu.name());
                engines.push((name, Engine::with_cpu(settings, cpu).unwrap()));
            }
        }
    }
    engines
}

/// Some combinations, so that each instruction set, number of threads and chunk occurs.
fn some_engines() -> Vec<(String, Engine)> {
    engines().into_iter().step_by(7).collect()
}

fn greedy_and_sampled(model: &Model, tokens: u32) -> [Request; 2] {
    [Sampler::greedy(), sampled()].map(|sampler| Request { sampler, ..request(model, LONG, tokens) })
}

fn check(name: &str, synthetic: &Synthetic, engines: &[(String, Engine)]) {
    let model = model(synthetic);
    for request in greedy_and_sampled(&model, 12) {
        assert!(request.n_in > 64, "the prompt must need more than one page");
        let expected = execute(&engine(1, 1), &model, &request);
        for (settings, engine) in engines {
            let what = format!("{name}, {settings}");
            assert_eq!(execute(engine, &model, &request), expected, "executing: {what}");
            let verified = verify(engine, &model, &request, &expected.tokens, expected.finish);
            assert_eq!(verified, Verified::Accepted(expected.clone()), "verifying: {what}");
            assert_eq!(in_company(engine, &model, &request), expected, "in company: {what}");
        }
    }
}

/// The execution of a request while others of other lengths run beside it.
fn in_company(engine: &Engine, model: &Arc<Model>, wanted: &Request) -> Execution {
    std::thread::scope(|scope| {
        for index in 0..COMPANY {
            let text = &LONG[..4 + 9 * index];
            scope.spawn(move || execute(engine, model, &request(model, text, 4 + index as u32)));
        }
        execute(engine, model, wanted)
    })
}

#[test]
fn every_combination_gives_one_trace_root_with_the_commonest_type() {
    check("q8_0", &Synthetic::default(), &engines());
}

#[test]
fn every_weight_type_gives_one_trace_root() {
    let engines = some_engines();
    for weight_type in WeightType::ALL {
        check(weight_type.name(), &Synthetic::of(weight_type), &engines);
    }
}

#[test]
fn every_architecture_gives_one_trace_root() {
    let engines = some_engines();
    for (name, synthetic) in Synthetic::variants() {
        check(name, &Synthetic { weight_type: WeightType::Q8_0, ..synthetic }, &engines);
    }
}

#[test]
fn trace_roots_are_equal_where_work_is_shared_out_and_the_head_is_separate() {
    let synthetic = Synthetic {
        hidden: 256,
        feed_forward: 512,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        head: Head::Own,
        ..Synthetic::default()
    };
    check("shared out", &synthetic, &some_engines());
}
