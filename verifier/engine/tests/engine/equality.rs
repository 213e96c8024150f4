//! One execution, one trace root: whatever the threads, the chunks, the instruction set and the role.

use assay_engine::synthetic::{Head, Synthetic};
use assay_engine::{Engine, Settings, Verified};
use assay_kernels::{Cpu, WeightType};
use assay_protocol::request::{Request, Sampler};

use crate::support::{LONG, engine, execute, model, request, sampled, verify};

const THREADS: [usize; 3] = [1, 2, 3];
const CHUNKS: [usize; 5] = [1, 3, 7, 64, 10_000];

fn check(synthetic: &Synthetic, sampler: Sampler) {
    let model = model(synthetic);
    let request = Request { sampler, ..request(&model, LONG, 24) };
    assert!(request.n_in > 64, "the prompt must need more than one chunk");
    let expected = execute(&engine(1, 1), &model, &request);
    for threads in THREADS {
        for chunk in CHUNKS {
            let engine = engine(threads, chunk);
            let what = format!("{:?}, {threads} threads, chunks of {chunk}", synthetic.weight_type);
            assert_eq!(execute(&engine, &model, &request), expected, "executing: {what}");
            let verified = verify(&engine, &model, &request, &expected.tokens, expected.finish);
            assert_eq!(verified, Verified::Accepted(expected.clone()), "verifying: {what}");
        }
    }
}

#[test]
fn trace_roots_are_equal_with_q8_0() {
    check(&Synthetic::of(WeightType::Q8_0), Sampler::greedy());
    check(&Synthetic::of(WeightType::Q8_0), sampled());
}

#[test]
fn trace_roots_are_equal_with_q4_0() {
    check(&Synthetic::of(WeightType::Q4_0), Sampler::greedy());
    check(&Synthetic::of(WeightType::Q4_0), sampled());
}

#[test]
fn trace_roots_are_equal_with_f16() {
    check(&Synthetic::of(WeightType::F16), Sampler::greedy());
    check(&Synthetic::of(WeightType::F16), sampled());
}

#[test]
fn trace_roots_are_equal_with_f32() {
    check(&Synthetic::of(WeightType::F32), Sampler::greedy());
    check(&Synthetic::of(WeightType::F32), sampled());
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
    check(&synthetic, sampled());
}

#[test]
fn trace_roots_are_equal_on_every_instruction_set() {
    for weight_type in WeightType::ALL {
        let model = model(&Synthetic::of(weight_type));
        let request = Request { sampler: sampled(), ..request(&model, LONG, 16) };
        let expected = execute(&engine(1, 64), &model, &request);
        for cpu in Cpu::available() {
            let engine = Engine::with_cpu(Settings::for_this_machine(), cpu).unwrap();
            assert_eq!(execute(&engine, &model, &request), expected, "{weight_type:?}, {}", cpu.name());
        }
    }
}

#[test]
fn executions_side_by_side_do_not_disturb_each_other() {
    let model = model(&Synthetic::default());
    let engine = engine(2, 16);
    let requests = ["the", "and", "in", LONG].map(|text| request(&model, text, 16));
    let expected = requests.clone().map(|request| execute(&engine, &model, &request));
    std::thread::scope(|scope| {
        let running: Vec<_> =
            requests.iter().map(|request| scope.spawn(|| execute(&engine, &model, request))).collect();
        for (running, expected) in running.into_iter().zip(&expected) {
            assert_eq!(&running.join().unwrap(), expected);
        }
    });
}
