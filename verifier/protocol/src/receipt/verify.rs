//! Verification of a receipt: a list of named checks, the first that fails decides.

use assay_manifest::{Digest32, merkle};
use serde::{Deserialize, Serialize};

use crate::certificate::ValidatorSet;
use crate::commitment::{Claim, Salt, SaltPurpose, SeatId, ValueKind, input_commit_from, trace_blind_from};
use crate::draw::{self, Candidate, DrawFacts};
use crate::header::HeaderView;
use crate::job::{SeatOutcome, SeatRecord, SettlementRecord, Verdict};
use crate::params::SEATS_MAX;
use crate::party::Role;
use crate::record::Class;
use crate::signature::SeatStep;
use crate::units::{Height, Tokens};

use super::file::{Disclosure, DrawEvidence, Evidence, LedgerReceipt, Receipt, SelfReceipt};
use super::succession::{HandOver, Succession, SuccessionError};

/// What the verifier of a receipt trusts: one chain and its validators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    /// Hash of block 0.
    pub genesis: Digest32,
    /// Who signs its blocks, from a height on.
    pub validators: ValidatorSet,
    /// That height; the first, unless later validators are trusted.
    #[serde(default = "Trust::first", skip_serializing_if = "Trust::is_first")]
    pub from: Height,
}

impl Trust {
    /// In a chain's first validators.
    pub const fn of_genesis(genesis: Digest32, validators: ValidatorSet) -> Self {
        Self { genesis, validators, from: Self::first() }
    }

    /// Whether the trusted validators came after those to whom this hands over, or are these.
    pub(super) fn is_after(&self, hand_over: &HandOver) -> bool {
        let height = hand_over.block.certificate.height;
        // Nothing is handed over by the first block, which nobody decides.
        height >= Self::first() && height < self.from
    }

    const fn first() -> Height {
        Height::new(1)
    }

    // The form that serde asks for.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_first(from: &Height) -> bool {
        *from == Self::first()
    }
}

/// The first check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {cause}")]
pub struct Failure {
    /// Which check.
    pub check: &'static str,
    /// What was found.
    pub cause: String,
}

/// What a verified receipt says, and what it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Exact, or by documented bounds.
    pub class: Class,
    /// What the ledger says.
    pub verdict: Verdict,
    /// Whether the answer stands, was rejected, or the computation failed; absent without a verdict.
    pub result: Option<ValueKind>,
    /// k: verifiers that committed to the settled value.
    pub verifiers: u32,
    /// N: accounts of which they were drawn.
    pub eligible: u32,
    /// Accounts that do not serve the model of which one verifier was drawn; absent, if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_large: Option<u32>,
    /// Validators on whom the record rests.
    pub validators: u32,
    /// Height up to which the receipt speaks.
    pub as_of: Height,
    /// The names of the checks that held, in order.
    pub checked: Vec<&'static str>,
    /// What was not checked, in words.
    pub not_checked: Vec<&'static str>,
}

type Checked = Result<(), String>;

impl Receipt {
    /// Checks everything that the file holds.
    ///
    /// # Errors
    /// [`Failure`] with the first check that does not hold.
    pub fn verify(&self, trust: &Trust) -> Result<Report, Failure> {
        match self {
            Self::Ledger(receipt) => receipt.verify(trust),
            Self::Own(receipt) => receipt.verify(),
        }
    }
}

impl LedgerReceipt {
    fn verify(&self, trust: &Trust) -> Result<Report, Failure> {
        self.check_chain(trust).map_err(|cause| Failure { check: "chain", cause })?;
        let succession = self
            .succession(trust)
            .map_err(|cause| Failure { check: "validators", cause: cause.to_string() })?;
        let checks: [(&'static str, &dyn Fn() -> Checked); 8] = [
            ("certificate", &|| decided(&succession, &self.checkpoint, None).map(drop)),
            ("log inclusion", &|| self.check_inclusion()),
            ("job id", &|| self.check_job_id()),
            ("draws", &|| self.check_draws(&succession)),
            ("commitments", &|| self.settlement.check_commitments()),
            ("verdict", &|| self.settlement.check_verdict()),
            ("provenance", &|| self.check_provenance()),
            ("opened parts", &|| self.check_opened()),
        ];
        let mut checked = vec!["chain", "validators"];
        for (check, holds) in checks {
            holds().map_err(|cause| Failure { check, cause })?;
            checked.push(check);
        }
        self.report(&succession, checked)
    }

    /// Who decided what, up to the checkpoint: in one form, so that the file's hash can stand for it.
    fn succession(&self, trust: &Trust) -> Result<Succession, SuccessionError> {
        let end = HeaderView::decode(&self.checkpoint.header)?.height;
        let succession = Succession::follow(trust, &self.hand_overs)?;
        match succession.newest() {
            Some((from, _)) if *from > end && *from > trust.from => Err(SuccessionError::Unneeded(*from)),
            _ => Ok(succession),
        }
    }

    fn report(&self, succession: &Succession, checked: Vec<&'static str>) -> Result<Report, Failure> {
        let header = HeaderView::decode(&self.checkpoint.header)
            .map_err(|error| Failure { check: "certificate", cause: error.to_string() })?;
        let record = &self.settlement;
        let validators = succession.at(header.height).map_or(0, |set| set.validators().len());
        Ok(Report {
            class: record.request.class,
            verdict: record.verdict,
            result: record.opening.map(|opening| opening.kind),
            verifiers: count(record.right_verifiers().count()),
            eligible: record.verifier_draw.map_or(0, |facts| facts.eligible),
            at_large: record.at_large_draw.map(|facts| facts.eligible),
            validators: count(validators),
            as_of: header.height,
            checked,
            not_checked: self.not_checked(),
        })
    }

    fn not_checked(&self) -> Vec<&'static str> {
        let opened = self.opened.clone().unwrap_or_default();
        let mut left = vec![
            "that the answer is true",
            "that different accounts are different parties",
            "the payments, which the validators executed",
            "anything that happened after the checkpoint",
            "whether more was said of the model or the keys: the log proves presence only",
        ];
        if opened.input.is_none() {
            left.push("what was asked: the request is not disclosed");
        }
        if opened.output.is_none() {
            left.push("what was answered: the output is not disclosed");
        }
        if opened.trace.is_none() {
            left.push("the trace root, which is not disclosed");
        }
        if opened.salt.is_none() {
            left.push("the sampler's seed, unless the request fixes it");
        }
        if !self.hand_overs.is_empty() {
            left.push(
                "that keys of validators who have left were not used since: trust later ones to be sure",
            );
        }
        if self.settlement.round > 1 {
            left.push("the draws of the rounds before the last, whose executors dropped out");
        }
        left.push("the computation itself: re-execute it with the model to do so");
        left
    }

    fn check_chain(&self, trust: &Trust) -> Checked {
        let genesis = self.settlement.genesis;
        ensure(genesis == trust.genesis, || format!("it is from the chain {genesis}, not {}", trust.genesis))
    }

    fn check_inclusion(&self) -> Checked {
        let header = HeaderView::decode(&self.checkpoint.header).map_err(|e| e.to_string())?;
        let (size, root) = header.log().map_err(|e| e.to_string())?;
        ensure(self.inclusion.size == size, || {
            format!("the path is for a log of {}, the header's has {size} entries", self.inclusion.size)
        })?;
        let leaf = merkle::leaf_hash(&self.settlement.to_leaf());
        self.inclusion.verify(&leaf, &root).map_err(|e| e.to_string())
    }

    fn check_job_id(&self) -> Checked {
        let record = &self.settlement;
        let id = record.request.job_id(&record.genesis, &record.requester, record.nonce);
        ensure(id == record.job, || format!("the request's id is {id}, not {}", record.job))
    }

    fn check_draws(&self, succession: &Succession) -> Checked {
        let record = &self.settlement;
        let draws = [
            (Role::Executor, record.round, record.executor_draw, self.executor_draw.as_ref()),
            (Role::Verifier, record.round, record.verifier_draw, self.verifier_draw.as_ref()),
            (Role::AtLarge, record.round, record.at_large_draw, self.at_large_draw.as_ref()),
            (Role::Verifier, record.value_round(), record.recheck_draw, self.recheck_draw.as_ref()),
        ];
        draws.into_iter().try_for_each(|draw| check_draw(record, succession, draw))
    }

    fn check_opened(&self) -> Checked {
        match &self.opened {
            Some(opened) => opened.check(&self.settlement),
            None => Ok(()),
        }
    }
}

/// Checks the certificate over a header; of `height`, if one is asked for.
fn decided(succession: &Succession, block: &Evidence, height: Option<Height>) -> Result<HeaderView, String> {
    succession.check(block, height).map_err(|error| error.to_string())
}

fn check_draw(
    record: &SettlementRecord,
    succession: &Succession,
    draw: (Role, u8, Option<DrawFacts>, Option<&DrawEvidence>),
) -> Checked {
    let (role, round, facts, evidence) = match draw {
        (role, round, Some(facts), Some(evidence)) => (role, round, facts, evidence),
        (_, _, None, None) => return Ok(()),
        (role, ..) => return Err(format!("the evidence of the {role:?} draw does not match the record")),
    };
    let header = decided(succession, &evidence.seed, Some(facts.height))?;
    let randomness = header.randomness().map_err(|e| e.to_string())?;
    ensure(randomness == facts.randomness, || "the seed block has another randomness".into())?;
    // One draw has one form in a file, whose hash can then stand for it.
    let ascending = evidence.candidates.is_sorted_by(|one, next| one.provider < next.provider);
    ensure(ascending, || format!("the candidates of the {role:?} draw are not in order of their accounts"))?;
    let recomputed = DrawFacts::of(facts.height, randomness, &evidence.candidates, facts.total_stake);
    ensure(recomputed == Ok(facts), || {
        format!("the candidates of the {role:?} draw are not those recorded")
    })?;
    let seed = draw::seed(&randomness, &record.job, round, role);
    let drawn = draw::draw(&seed, &evidence.candidates, SEATS_MAX as usize);
    check_seats(record, (round, role), &drawn)
}

/// Seats of a round must be the drawn ones, in drawn order.
fn check_seats(record: &SettlementRecord, (round, role): (u8, Role), drawn: &[Candidate]) -> Checked {
    let seats = record.seats.iter().filter(|seat| seat.round == round && seat.role == role);
    let mut drawn = drawn.iter();
    for seat in seats {
        let next = drawn.next().ok_or_else(|| format!("seat {} was not drawn", seat.index))?;
        ensure(next.provider == seat.provider, || {
            format!("seat {} belongs to another provider", seat.index)
        })?;
    }
    Ok(())
}

impl SettlementRecord {
    fn right_verifiers(&self) -> impl Iterator<Item = &SeatRecord> {
        self.seats.iter().filter(|seat| seat.role.verifies() && seat.outcome == SeatOutcome::Right)
    }

    fn check_commitments(&self) -> Checked {
        for seat in &self.seats {
            let Some(signed) = seat.commitment else { continue };
            let claim = if seat.role == Role::Executor { self.claim } else { None };
            let step = SeatStep::Commit { commitment: signed.commitment, recheck: signed.recheck, claim };
            let digest = step.digest(&self.genesis, &self.job, seat.round, seat.index);
            ensure(signed.signature.verifies(&seat.work_key, &digest), || {
                format!("the signature of seat {} is wrong", seat.index)
            })?;
            if let Some(value) = seat.value {
                ensure(self.seat_id(seat, seat.round).commit(&value) == signed.commitment, || {
                    format!("the commitment of seat {} does not open to its value", seat.index)
                })?;
            }
        }
        Ok(())
    }

    fn seat_id(&self, seat: &SeatRecord, round: u8) -> SeatId {
        SeatId { job: self.job, round, role: seat.role, seat: seat.index, provider: seat.provider }
    }

    fn check_verdict(&self) -> Checked {
        if self.verdict == Verdict::Inconclusive {
            return ensure(self.opening.is_none() && self.value.is_none(), || {
                "it has a value without a verdict".into()
            });
        }
        let (Some(opening), Some(value), Some(claim)) = (self.opening, self.value, self.claim) else {
            return Err("it has a verdict without a value".into());
        };
        ensure(opening.value(&self.job, self.value_round(), &claim) == value, || {
            "the opening does not give the settled value".into()
        })?;
        for seat in self.seats.iter().filter(|seat| seat.outcome == SeatOutcome::Right) {
            ensure(self.stands_by(seat, &value), || {
                format!("seat {} is right with another value", seat.index)
            })?;
        }
        let wide = self.verifier_draw.is_some_and(|facts| facts.is_wide(self.bond));
        let expected = match self.verdict {
            Verdict::Refereed => Verdict::Refereed,
            Verdict::RetroVerified if self.is_confirmed() => Verdict::RetroVerified,
            _ if self.right_verifiers().count() == 0 => Verdict::Committed,
            _ if wide => Verdict::Verified,
            _ => Verdict::VerifiedThin,
        };
        ensure(self.verdict == expected, || format!("draw and seats support only {expected:?}"))
    }

    /// A seat of the value's round has opened to it; one of the round before had committed to it ahead.
    fn stands_by(&self, seat: &SeatRecord, value: &Digest32) -> bool {
        let round = self.value_round();
        let ahead = || {
            let id = self.seat_id(seat, round);
            seat.commitment.is_some_and(|signed| signed.recheck == id.commit(value))
        };
        if seat.round == round { seat.value == Some(*value) } else { ahead() }
    }

    /// Whether a fresh verifier was drawn after the settlement, and agreed.
    fn is_confirmed(&self) -> bool {
        let round = self.value_round();
        self.recheck_draw.is_some() && self.right_verifiers().any(|seat| seat.round == round)
    }
}

impl Disclosure {
    fn check(&self, record: &SettlementRecord) -> Checked {
        let claim = record.claim.ok_or("nothing was claimed that could be opened")?;
        if let Some(salt) = &self.salt {
            self.check_salt(salt, record.value_round())?;
        }
        if let Some(input) = &self.input {
            let request = &input.request;
            let commit = input_commit_from(&input.salt, &request.to_bytes());
            ensure(commit == record.request.input_commit, || {
                "the request is not the one committed to".into()
            })?;
            let counts = Tokens::new(request.n_in) == record.request.n_in
                && Tokens::new(request.max_tokens) == record.request.n_max;
            ensure(counts, || "the request's token counts differ from the record".into())?;
        }
        if let Some(output) = &self.output {
            let opened = Claim::from_output_salt(&output.salt, &output.tokens, claim.finish);
            ensure(opened == claim, || "the output is not the one committed to".into())?;
        }
        if let Some(trace) = &self.trace {
            let blind = trace_blind_from(&trace.salt, &trace.trace_root, trace.right_token);
            ensure(record.opening.is_some_and(|opening| opening.blind == blind), || {
                "the trace root is not the settled one".into()
            })?;
        }
        Ok(())
    }

    fn check_salt(&self, salt: &Salt, round: u8) -> Checked {
        let parts = [
            (SaltPurpose::Input, self.input.as_ref().map(|part| part.salt)),
            (SaltPurpose::Output, self.output.as_ref().map(|part| part.salt)),
            (SaltPurpose::Trace { round }, self.trace.as_ref().map(|part| part.salt)),
        ];
        for (purpose, disclosed) in parts {
            let derived = salt.derive(purpose);
            ensure(disclosed == Some(derived), || {
                format!("the salt is disclosed, but the {purpose:?} part is missing or has another")
            })?;
        }
        let bound = self.input.as_ref().is_some_and(|part| part.request.salt_hash == salt.hash());
        ensure(bound, || "the request belongs to another salt".into())
    }
}

impl SelfReceipt {
    fn verify(&self) -> Result<Report, Failure> {
        let statement = &self.statement;
        if !self.signature.verifies(&statement.signer, &statement.digest()) {
            return Err(Failure {
                check: "signature",
                cause: "the signer did not sign this statement".into(),
            });
        }
        Ok(Report {
            class: statement.class,
            verdict: Verdict::SelfSigned,
            result: None,
            verifiers: 0,
            eligible: 0,
            at_large: None,
            validators: 0,
            as_of: Height::ZERO,
            checked: vec!["signature"],
            not_checked: vec![
                "that the answer is true",
                "the computation itself: nobody but the signer vouches for it",
                "when it was made: no ledger recorded it",
            ],
        })
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn ensure(holds: bool, cause: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(cause()) }
}
