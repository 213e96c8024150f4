//! Sealing: what requesters hand to executors, and what cheats put into the mail.

use assay_manifest::Digest32;
use assay_node::sealing::fresh_entropy;
use assay_node::worker::{Answer, Duty, Mailbox, Outcome, Step, Task};
use assay_protocol::commitment::{Claim, Finish, Salt};
use assay_protocol::job::{Job, NeedState, Party, Phase, Seat, SeatOutcome};
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{
    AnswerParcel, Content, Delivery, EncryptionKey, Envelope, InputParcel, Parcel, SealingSecret, WorkParcel,
    package_hash,
};
use assay_protocol::signature::{SeatStep, Signature};
use assay_runtime::UncheckedExtrinsic;
use pallet_assay_jobs::Call;
use sp_core::{Pair, sr25519};

use crate::case::{Parcel as Handed, What, When};
use crate::random::bytes;
use crate::world::{World, call};

impl World {
    /// What the requester of a job does: hands its input to the executor, and posts it where that is asked for.
    pub fn requester(&mut self, job: &Job) -> Vec<UncheckedExtrinsic> {
        let n = self.by_account[&job.requester];
        let mut done: Vec<_> = self.claim_of_requester(n, job).into_iter().collect();
        let Phase::Assigned { .. } = job.phase else { return done };
        let Some(seat) = job.executor().filter(|seat| seat.outcome == SeatOutcome::Pending).cloned() else {
            return done;
        };
        if self.handed.insert((job.id, seat.index)) {
            self.hand_input(n, job, &seat);
        }
        let asked =
            job.need(Party::Seat(seat.index)).filter(|need| matches!(need.state, NeedState::Open { .. }));
        if let Some(key) = asked.map(|need| need.key)
            && self.asked.insert((job.id, Party::Seat(seat.index)))
        {
            done.extend(self.post_input(n, job, &seat, key));
        }
        done
    }

    /// What its script has a requester claim of a job that is paid, once.
    fn claim_of_requester(&mut self, n: usize, job: &Job) -> Option<UncheckedExtrinsic> {
        let call = match self.rule(n, job, When::Paid).filter(|_| job.phase.is_paid())? {
            What::Challenge => Call::challenge { job: job.id },
            What::Need => Call::need_answer { job: job.id, key: self.orders[&job.id].reply_secret.public() },
            _ => return None,
        };
        self.asked.insert((job.id, Party::Requester)).then(|| self.signed_by(n, call))
    }

    fn hand_input(&self, n: usize, job: &Job, seat: &Seat) {
        let Some(parcel) = self.input_for(n, job, seat) else { return };
        let delivery = delivery(job, (job.requester, seat.provider), seat.index, Content::Input(&job.record));
        let envelope = seal(&delivery, &parcel, seat.encryption_key, &self.actors[n].pair);
        self.mail.put(&[envelope]).expect("the mail");
    }

    fn post_input(
        &mut self,
        n: usize,
        job: &Job,
        seat: &Seat,
        key: EncryptionKey,
    ) -> Option<UncheckedExtrinsic> {
        let parcel = self.input_for(n, job, seat)?;
        let delivery = delivery(job, (job.requester, seat.provider), seat.index, Content::Input(&job.record));
        let package = delivery.seal(&parcel, &key, fresh_entropy()).ok()?;
        let package = package.try_into().expect("a package has a largest size");
        Some(self.signed_by(n, Call::post_input { job: job.id, seat: seat.index, package }))
    }

    /// The input as this executor gets it, if it does.
    fn input_for(&self, n: usize, job: &Job, seat: &Seat) -> Option<Parcel> {
        let order = &self.orders[&job.id];
        let right = (order.salt.clone(), order.request.clone());
        let m = self.by_account[&seat.provider];
        let (salt, request) = match self.rule(n, job, When::Asking) {
            Some(What::Hand(parcel, to)) if self.reaches(n, m, to) => match parcel {
                Handed::Nothing => return None,
                Handed::Other => (right.0.clone(), self.lab.request(1, &right.0)),
                Handed::Replayed => {
                    let older = self.orders.values().find(|older| older.job != job.id)?;
                    (older.salt.clone(), older.request.clone())
                }
            },
            _ => right,
        };
        Some(Parcel::Input(InputParcel { salt, request, reply_key: order.reply_secret.public() }))
    }

    /// The secret with which a party asks on the ledger without need.
    pub fn needed_secret(&self, n: usize) -> SealingSecret {
        SealingSecret::from_bytes(bytes(self.case.seed, "need", n as u64))
    }

    /// What an executor that lies puts down for itself and for the requester, as an honest one does.
    pub fn put_answer(&self, n: usize, job: &Job, seat: &Seat, result: (&Answer, &Outcome)) {
        let (Answer { tokens, finish }, outcome) = result;
        let order = &self.orders[&job.id];
        let input = InputParcel {
            salt: order.salt.clone(),
            request: order.request.clone(),
            reply_key: order.reply_secret.public(),
        };
        let claim = Claim::of(&order.salt, tokens, *finish);
        let trace_root = match outcome {
            Outcome::Answer { trace_root, .. }
            | Outcome::Reject { trace_root, .. }
            | Outcome::Fail { trace_root, .. } => *trace_root,
        };
        let work = Parcel::Work(WorkParcel::of(&input, tokens, *finish));
        let answer = Parcel::Answer(AnswerParcel::of(&order.salt, tokens, *finish, trace_root));
        let key = &self.actors[n].work;
        let of = |content| delivery(job, (seat.provider, seat.provider), seat.index, content);
        let envelopes = [
            seal(&of(Content::Work(&job.record, &claim)), &work, seat.encryption_key, key),
            seal(&of(Content::Answer(&claim)), &answer, seat.encryption_key, key),
        ];
        self.mail.put(&envelopes).expect("the mail");
    }

    /// Work that is not what was committed to, to whoever should get the right one; posted where that was asked.
    pub fn put_false_work(&mut self, n: usize, job: &Job, seat: &Seat, duty: &Duty) {
        let Some(claim) = job.claim else { return };
        let salt = Salt::from_bytes(bytes(self.case.seed, "false work", n as u64));
        let request = self.lab.request(0, &salt);
        let work = WorkParcel { salt, request, tokens: vec![2, 2], finish: Finish::Eos, reply_key: None };
        let (parcel, content) = (Parcel::Work(work), Content::Work(&job.record, &claim));
        match duty.task {
            Task::Hand { seat: index } if self.handed.insert((job.id, index)) => {
                let Some(to) = job.seats.iter().find(|other| other.index == index) else { return };
                let delivery = delivery(job, (seat.provider, to.provider), index, content);
                let envelope = seal(&delivery, &parcel, to.encryption_key, &self.actors[n].work);
                self.mail.put(&[envelope]).expect("the mail");
            }
            Task::Post { party: party @ Party::Seat(index) } if self.asked.insert((job.id, party)) => {
                let Some(need) = job.need(party) else { return };
                let Some(to) = job.seats.iter().find(|other| other.index == index) else { return };
                let delivery = delivery(job, (seat.provider, to.provider), index, content);
                let package = delivery.seal(&parcel, &need.key, fresh_entropy()).expect("a package");
                let step = SeatStep::Post { party, package_hash: package_hash(&package) };
                let digest = step.digest(&job.genesis, &job.id, seat.round, seat.index);
                let signature = Signature(self.actors[n].work.sign(digest.as_bytes()).0);
                self.extra.push(call(Step::Post { job: job.id, party, package, signature }));
            }
            _ => {}
        }
    }
}

fn delivery<'a>(
    job: &Job,
    (sender, recipient): (AccountBytes, AccountBytes),
    seat: u8,
    content: Content<'a>,
) -> Delivery<'a> {
    Delivery { genesis: job.genesis, job: job.id, sender, recipient, seat, content }
}

fn seal(delivery: &Delivery<'_>, parcel: &Parcel, key: EncryptionKey, signer: &sr25519::Pair) -> Envelope {
    let sign = |digest: &Digest32| Signature(signer.sign(digest.as_bytes()).0);
    Envelope::seal(delivery, parcel, &key, fresh_entropy(), sign).expect("a parcel that fits")
}
