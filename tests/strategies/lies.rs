//! False results: what a cheat claims, and what stands behind it.

use assay_manifest::Digest32;
use assay_node::client::Order;
use assay_node::worker::{Answer, Committed, Compute, Outcome};
use assay_protocol::commitment::{Claim, FailCode, Finish};
use assay_protocol::job::Job;

use crate::case::Lie;
use crate::model::Lab;
use crate::random::bytes;

/// The answer of an executor that lies, and the result that it commits to. It knows the input from its friends
/// even where it was not handed over.
pub fn answer(lab: &Lab, job: &Job, order: &Order, lie: Lie) -> (Answer, Outcome) {
    let request = &order.request;
    let seed = request.seed(&order.salt, &job.id);
    let model = &job.record.model_id;
    let outcome = match lie {
        Lie::OtherSeed => lab.execute(model, request, &order.salt.hash()),
        Lie::OtherTemplate => lab.execute(model, &lab.in_other_words(request), &seed),
        Lie::SwappedWeights => lab.execute(&lab.swapped, request, &seed),
        _ => lab.execute(model, request, &seed),
    };
    let nothing = (Answer { tokens: vec![1], finish: Finish::Eos }, garbage(job));
    let (mut answer, mut trace_root) = match outcome {
        Ok(Outcome::Answer { answer, trace_root } | Outcome::Fail { answer, trace_root, .. }) => {
            (answer, trace_root)
        }
        Ok(Outcome::Reject { .. }) | Err(_) => nothing,
    };
    match lie {
        Lie::WrongToken => match answer.tokens.last_mut() {
            Some(token) => *token ^= 1,
            None => answer.tokens.push(1),
        },
        Lie::Truncate => {
            let half = answer.tokens.len().div_ceil(2);
            answer.tokens.truncate(half);
        }
        Lie::WrongFinish if answer.finish == Finish::Eos => answer.finish = Finish::Length,
        Lie::WrongFinish => answer.finish = Finish::Eos,
        Lie::FalseFail => answer = Answer { tokens: Vec::new(), finish: Finish::Failed },
        Lie::GarbageTrace => trace_root = garbage(job),
        Lie::FalseReject | Lie::OtherSeed | Lie::OtherTemplate | Lie::SwappedWeights => {}
    }
    if answer.tokens.is_empty() && answer.finish != Finish::Failed {
        answer.tokens.push(1);
    }
    let outcome = result(lie, &answer, trace_root);
    (answer, outcome)
}

/// What a verifier that lies says of a claim.
pub fn judgement(lab: &Lab, job: &Job, order: &Order, lie: Lie) -> Outcome {
    let root = match lie {
        Lie::SwappedWeights => {
            let seed = order.request.seed(&order.salt, &job.id);
            let outcome = lab.execute(&lab.swapped, &order.request, &seed);
            outcome.map_or_else(|_| garbage(job), |outcome| root_of(&outcome))
        }
        _ => garbage(job),
    };
    result(lie, &Answer { tokens: Vec::new(), finish: Finish::Failed }, root)
}

fn result(lie: Lie, answer: &Answer, trace_root: Digest32) -> Outcome {
    let answer = answer.clone();
    match lie {
        Lie::FalseReject => Outcome::Reject { position: 0, right_token: 1, trace_root },
        Lie::FalseFail => Outcome::Fail { code: FailCode::NotFinite, position: 0, answer, trace_root },
        _ => Outcome::Answer { answer, trace_root },
    }
}

/// A root that friends agree on without any work.
fn garbage(job: &Job) -> Digest32 {
    Digest32::from_bytes(bytes(0, "garbage", u64::from(job.round)))
}

fn root_of(outcome: &Outcome) -> Digest32 {
    match outcome {
        Outcome::Answer { trace_root, .. }
        | Outcome::Reject { trace_root, .. }
        | Outcome::Fail { trace_root, .. } => *trace_root,
    }
}

/// What honest work finds of a claimed answer, in a round; nothing where it cannot be judged.
pub fn truth(lab: &Lab, order: &Order, claimed: (&Claim, &Answer), round: u8) -> Option<Committed> {
    let (claim, answer) = claimed;
    let Order { job, record, salt, request, .. } = order;
    let outcome = lab.verify(&record.model_id, request, &request.seed(salt, job), answer).ok()?;
    Some(Committed::about(*claim, salt, round, &outcome))
}

/// Whether the answer is the one that the claim commits to.
pub fn is_claimed(claim: &Claim, order: &Order, answer: &Answer) -> bool {
    Claim::of(&order.salt, &answer.tokens, answer.finish) == *claim
}
