//! What a process computes is what is computed here.

use std::sync::Arc;

use assay_engine::Engine;
use assay_node::adapters::{Models, Workplace};
use assay_node::model_process::{Call, Confinement, Reply};
use assay_node::rpc::{Ask, Models as _};
use assay_node::serving::Shelf;
use assay_node::worker::{Answer, Compute, Outcome};
use assay_protocol::commitment::Finish;
use assay_protocol::request::Request;

use crate::support::{Lab, SEED, config, execute, question, request, settings};

#[test]
fn a_run_in_a_process_has_the_tokens_and_the_trace_root_of_a_run_here() {
    let lab = Lab::new();
    let (hosted, process) = (lab.hosted(), lab.process());
    assert_eq!(process.loaded().model_id, lab.model_id());
    assert_eq!(process.loaded().spec_id, hosted.spec_id());
    let request = request(&hosted, "an inn than the hand", 24);
    let both = |call: fn(&Request) -> Call| {
        let reply = process.call(call(&request), None).unwrap();
        assert_eq!(reply, hosted.answer(&call(&request), &mut ()).unwrap());
        reply
    };
    let Reply::Outcome(Outcome::Answer { answer, .. }) = both(execute) else { panic!("no answer") };
    assert_eq!(both(|request| Call::Fits(request.clone())), Reply::Fits(true));
    assert_eq!(answer.tokens.len(), 24);
    for (claimed, is_right) in [(answer.clone(), true), (wrong(&answer), false)] {
        let verify = || Call::Verify { request: request.clone(), seed: SEED, claimed: claimed.clone() };
        let reply = process.call(verify(), None).unwrap();
        assert_eq!(reply, hosted.answer(&verify(), &mut ()).unwrap());
        assert_eq!(matches!(reply, Reply::Outcome(Outcome::Answer { .. })), is_right, "{reply:?}");
    }
    let decode = || Call::Decode(answer.tokens.clone());
    assert_eq!(process.call(decode(), None).unwrap(), hosted.answer(&decode(), &mut ()).unwrap());
}

fn wrong(answer: &Answer) -> Answer {
    let mut tokens = answer.tokens.clone();
    tokens[3] = u32::from(tokens[3] == 0);
    Answer { tokens, finish: Finish::Length }
}

#[test]
fn runs_side_by_side_have_the_results_of_runs_alone() {
    let lab = Lab::new();
    let (hosted, process) = (lab.hosted(), Arc::new(lab.process()));
    let requests: Vec<_> = (1..=8).map(|n| request(&hosted, "the hand and then", n * 3)).collect();
    let run = |request: &Request| {
        let (process, call) = (Arc::clone(&process), execute(request));
        std::thread::spawn(move || process.call(call, None).unwrap())
    };
    let running: Vec<_> = requests.iter().map(run).collect();
    for (request, running) in requests.iter().zip(running) {
        assert_eq!(running.join().unwrap(), hosted.answer(&execute(request), &mut ()).unwrap());
    }
}

#[test]
fn what_the_model_refuses_is_an_error_of_the_call_alone() {
    let lab = Lab::new();
    let process = lab.process();
    let refused = process.call(Call::Count(question("the", 1 << 20)), None).unwrap_err().to_string();
    assert!(refused.contains("over the model's 65536"), "{refused}");
    assert!(matches!(process.call(Call::Count(question("the", 1)), None), Ok(Reply::Counted(_))));
}

#[test]
fn the_nodes_models_are_the_same_wherever_they_run() {
    let lab = Lab::new();
    let here = Workplace::Here(Arc::new(Engine::new(settings()).unwrap()));
    let processes =
        Workplace::Processes { config: config(), settings: settings(), confinement: Confinement::NONE };
    let id = lab.model_id();
    let ask = Ask {
        model: id,
        prompt: question("the hand", 5).prompt.clone(),
        now_s: 0,
        sampler: question("", 5).sampler.clone(),
        stop: Vec::new(),
        max_tokens: 5,
    };
    let [here, apart] = [here, processes].map(|workplace| {
        let models = Models::at(workplace, Arc::clone(&lab.store));
        let spec = models.spec(&id).unwrap();
        models.load(&id, &spec, Vec::new()).unwrap();
        models
    });
    assert_eq!(here.prepare(&ask).unwrap(), apart.prepare(&ask).unwrap());
    let request = request(&lab.hosted(), "the hand", 5);
    assert_eq!(here.execute(&id, &request, &SEED).unwrap(), apart.execute(&id, &request, &SEED).unwrap());
    assert_eq!(here.served(), apart.served());
    assert_eq!(here.decode(&id, &[65, 66]).unwrap(), apart.decode(&id, &[65, 66]).unwrap());
    apart.close();
    assert!(!apart.holds(&id) && apart.execute(&id, &request, &SEED).is_err());
}
