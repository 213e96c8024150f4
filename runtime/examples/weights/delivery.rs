//! Data on the ledger in its worst case: the largest packages, posted and complained of.

use assay_manifest::{Digest32, JobId};
use assay_protocol::commitment::{Claim, Finish, input_commit};
use assay_protocol::job::{Party, Seat};
use assay_protocol::record::{Policy, PublicRecord};
use assay_protocol::seal::{
    Content, Delivery, Entropy, InputParcel, Parcel, SealingSecret, WorkParcel, package_hash,
};
use assay_protocol::signature::{SeatStep, Signature};
use assay_protocol::units::Tokens;
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use pallet_assay_jobs::Call as JobsCall;
use sp_core::Pair;

use crate::answers::salt;
use crate::jobs::{Lot, authorize, close, drawn_and_committed, first};
use crate::market::{N_MAX, question, record, work_key_of};
use crate::samples::Samples;
use crate::town::Town;

/// Tokens of the answer: as many as a request may ask for.
pub const LONG: u32 = 65_000;
/// Tokens of the answer in the smallest package.
const SHORT: u32 = N_MAX as u32;

/// Blocks of different numbers of each, with the largest and the smallest package; of complaints about large ones,
/// a block holds two.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    for jobs in [1, 2, 1, 2] {
        packages(town, samples, jobs, LONG);
        packages(town, samples, jobs, SHORT);
    }
}

fn packages(town: &mut Town, samples: &mut Samples, jobs: usize, n_out: u32) {
    let tokens: Vec<u32> = (0..n_out).collect();
    let [post, judge, checked_post, checked_complaint] = match n_out {
        LONG => ["post_long", "complain_long", "authorize_post_long", "authorize_complain_long"],
        _ => ["post_short", "complain_short", "authorize_post_short", "authorize_complain_short"],
    };
    let claim = Claim::of(&salt(), &tokens, Finish::Length);
    let lot = Lot { record: asking(n_out), claim };
    let ids = drawn_and_committed(town, samples, &lot, jobs);
    let seats: Vec<(JobId, Seat)> = ids.iter().map(|id| (*id, first(town, *id))).collect();
    let needs = seats.iter().map(|(id, seat)| town.market.step(*id, seat.index, need())).collect();
    town.take("need", needs, samples);
    let posts: Vec<_> = seats.iter().map(|(id, seat)| posted(town, *id, seat, &tokens)).collect();
    authorize(town, samples, checked_post, &posts[0]);
    town.take(post, posts, samples);
    let complaints: Vec<_> =
        seats.iter().map(|(id, seat)| town.market.step(*id, seat.index, complaint())).collect();
    authorize(town, samples, checked_complaint, &complaints[0]);
    town.take(judge, complaints, samples);
    // A seat of a long job has a thousand blocks; what is open meanwhile does nothing.
    if n_out == SHORT {
        close(town, samples, &ids);
    }
}

fn secret() -> SealingSecret {
    SealingSecret::from_bytes([50; 32])
}

fn need() -> SeatStep {
    SeatStep::Need { key: secret().public() }
}

fn complaint() -> SeatStep {
    SeatStep::Complain { secret: Digest32::from_bytes(*secret().as_bytes()) }
}

fn asking(n_max: u32) -> PublicRecord {
    PublicRecord {
        input_commit: input_commit(&salt(), &question(n_max).to_bytes()),
        n_max: Tokens::new(n_max),
        ..record(Policy::Verified { verifiers: 2 })
    }
}

fn posted(town: &Town, id: JobId, seat: &Seat, tokens: &[u32]) -> UncheckedExtrinsic {
    let job = town.market.job(id);
    let (claim, executor) = (job.claim.expect("a claim"), job.answerer().expect("an executor"));
    let delivery = Delivery {
        genesis: job.genesis,
        job: id,
        sender: executor.provider,
        recipient: seat.provider,
        seat: seat.index,
        content: Content::Work(&job.record, &claim),
    };
    let reply_key = SealingSecret::from_bytes([90; 32]).public();
    let input = InputParcel { salt: salt(), request: question(tokens.len() as u32), reply_key };
    let parcel = Parcel::Work(WorkParcel::of(&input, tokens, claim.finish));
    let package = delivery.seal(&parcel, &secret().public(), Entropy::from_bytes([77; 32])).expect("it fits");
    let party = Party::Seat(seat.index);
    let step = SeatStep::Post { party, package_hash: package_hash(&package) };
    let digest = step.digest(&job.genesis, &id, executor.round, executor.index);
    let signature = Signature(work_key_of(executor).sign(digest.as_bytes()).0);
    let package = package.try_into().expect("it fits");
    general(RuntimeCall::Jobs(JobsCall::post { job: id, party, package, signature }))
}
