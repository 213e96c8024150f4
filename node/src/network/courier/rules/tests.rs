use assay_manifest::Digest32;
use assay_protocol::job::Phase;
use assay_protocol::units::Height;

use super::*;
use crate::fixtures::{EXECUTOR, REQUESTER, VERIFIERS, account, envelope, job, signed};

const JUDGE: AccountBytes = [70; 32];

fn judged(job: &Job, envelope: &Envelope, hosted: &[u8], held: &[Slip]) -> Result<(), Refusal> {
    let mut hosted: Vec<_> = hosted.iter().map(|party| account(*party)).collect();
    hosted.push(JUDGE);
    let validators = BTreeSet::from([JUDGE]);
    let held = held.iter().copied().collect();
    admit(envelope, job, &House { hosted: &hosted, validators: &validators, held: &held, asked_for: None })
}

#[test]
fn everybody_in_a_job_gets_what_it_is_owed_at_its_own_node_and_nowhere_else() {
    let job = job();
    for (purpose, parties, seat) in [
        (Purpose::Input, [REQUESTER, EXECUTOR], 0),
        (Purpose::Work, [EXECUTOR, VERIFIERS[0]], 1),
        (Purpose::Work, [EXECUTOR, VERIFIERS[1]], 2),
    ] {
        let envelope = envelope(&job, purpose, parties, seat);
        assert_eq!(judged(&job, &envelope, &[parties[1]], &[]), Ok(()), "{envelope:?}");
        assert_eq!(judged(&job, &envelope, &[parties[0]], &[]), Err(Refusal::NotHere), "{envelope:?}");
    }
}

#[test]
fn an_answer_is_kept_where_the_job_was_bought() {
    let job = job();
    let answer = envelope(&job, Purpose::Answer, [EXECUTOR, REQUESTER], 0);
    let input = Slip::of(&envelope(&job, Purpose::Input, [REQUESTER, EXECUTOR], 0));
    assert_eq!(judged(&job, &answer, &[], &[input]), Ok(()));
    assert_eq!(judged(&job, &answer, &[], &[]), Err(Refusal::NotHere));
    // The executor's own node has the input, too, and is not where its requester comes.
    assert_eq!(judged(&job, &answer, &[EXECUTOR], &[input]), Err(Refusal::NotHere));
    // Whoever asked for it keeps it.
    let want = Want { job: job.id, purpose: Purpose::Answer, recipient: job.requester };
    let validators = BTreeSet::new();
    let house = House { hosted: &[], validators: &validators, held: &BTreeSet::new(), asked_for: Some(want) };
    assert_eq!(admit(&answer, &job, &house), Ok(()));
    let work = envelope(&job, Purpose::Work, [EXECUTOR, VERIFIERS[0]], 1);
    assert_eq!(admit(&work, &job, &house), Err(Refusal::NotHere));
}

#[test]
fn what_its_sender_did_not_sign_is_forged() {
    let job = job();
    let input = envelope(&job, Purpose::Input, [REQUESTER, EXECUTOR], 0);
    let work = envelope(&job, Purpose::Work, [EXECUTOR, VERIFIERS[0]], 1);
    let edits: [fn(&mut Envelope); 3] =
        [|e| e.package[9] = 1, |e| e.key = Digest32::from_bytes([1; 32]), |e| e.package.push(0)];
    for edit in edits {
        for whole in [&input, &work] {
            let mut forged = whole.clone();
            edit(&mut forged);
            assert_eq!(judged(&job, &forged, &[EXECUTOR, VERIFIERS[0]], &[]), Err(Refusal::Forged));
        }
    }
    let by_another = signed(&job, input, VERIFIERS[1]);
    assert_eq!(judged(&job, &by_another, &[EXECUTOR], &[]), Err(Refusal::Forged));
}

#[test]
fn who_has_no_part_in_the_job_leaves_nothing() {
    let job = job();
    const STRANGER: u8 = 50;
    for (purpose, parties, seat) in [
        // Not the requester; not the executor; not a seat of the recipient's.
        (Purpose::Input, [STRANGER, EXECUTOR], 0),
        (Purpose::Input, [EXECUTOR, EXECUTOR], 0),
        (Purpose::Input, [REQUESTER, VERIFIERS[0]], 1),
        (Purpose::Input, [REQUESTER, EXECUTOR], 1),
        (Purpose::Work, [STRANGER, VERIFIERS[0]], 1),
        (Purpose::Work, [EXECUTOR, VERIFIERS[0]], 2),
        (Purpose::Work, [EXECUTOR, STRANGER], 0),
        (Purpose::Answer, [VERIFIERS[0], REQUESTER], 1),
        (Purpose::Answer, [EXECUTOR, STRANGER], 0),
        // Nothing is contested yet.
        (Purpose::Work, [REQUESTER, VERIFIERS[0]], 1),
    ] {
        let envelope = envelope(&job, purpose, parties, seat);
        let everybody = [EXECUTOR, VERIFIERS[0], VERIFIERS[1], STRANGER];
        assert_eq!(judged(&job, &envelope, &everybody, &[]), Err(Refusal::NotAParty), "{envelope:?}");
    }
}

#[test]
fn a_validator_gets_the_work_of_what_is_contested_from_seats_and_from_who_contests_it() {
    let mut job = job();
    let to_judge = |job: &Job, sender| {
        let mut envelope = envelope(job, Purpose::Work, [sender, EXECUTOR], 0);
        envelope.recipient = JUDGE;
        signed(job, envelope, sender)
    };
    let from_seat = to_judge(&job, EXECUTOR);
    assert_eq!(judged(&job, &from_seat, &[], &[]), Err(Refusal::NotAParty));
    job.phase = Phase::Refereeing { verdict_by: Height::new(50) };
    assert_eq!(judged(&job, &from_seat, &[], &[]), Ok(()));
    assert_eq!(judged(&job, &to_judge(&job, REQUESTER), &[], &[]), Ok(()));
    assert_eq!(judged(&job, &to_judge(&job, 50), &[], &[]), Err(Refusal::NotAParty));
}

#[test]
fn a_job_has_so_much_room_and_a_later_envelope_takes_the_place_of_its_first() {
    let job = job();
    let input = envelope(&job, Purpose::Input, [REQUESTER, EXECUTOR], 0);
    let other = |number: usize| Slip { sender: [number as u8; 32], ..Slip::of(&input) };
    let mut held: Vec<_> = (100..100 + PER_JOB_MAX).map(other).collect();
    assert_eq!(judged(&job, &input, &[EXECUTOR], &held), Err(Refusal::Full));
    held[0] = Slip::of(&input);
    assert_eq!(judged(&job, &input, &[EXECUTOR], &held), Ok(()));
}
