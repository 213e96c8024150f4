//! What requesters ask for, and the receipts that they get.

use assay_manifest::{Digest32, JobId};
use assay_node::client::JobOutput;
use assay_node::client::Order;
use assay_node::worker::{Compute, Outcome};
use assay_protocol::commitment::{Salt, input_commit};
use assay_protocol::job::SettlementRecord;
use assay_protocol::receipt::Receipt;
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::request::Request;
use assay_protocol::seal::SealingSecret;
use assay_protocol::units::{Height, Price, Tokens};
use assay_runtime::UncheckedExtrinsic;
use pallet_assay_jobs::Call;

use crate::case::{Asked, Rule, What, When};
use crate::lies::is_claimed;
use crate::random::bytes;
use crate::world::{P_IN, WEIGHTS_BYTES, World};

impl World {
    /// The requests whose time has come.
    pub fn requests(&mut self, age: u32) -> Vec<UncheckedExtrinsic> {
        let due: Vec<(usize, Asked)> =
            self.case.jobs.iter().cloned().enumerate().filter(|(_, asked)| asked.at == age).collect();
        let mut transactions = Vec::new();
        for (number, asked) in due {
            let sent = self.signed.get(&asked.by).copied().unwrap_or(0);
            let order = self.order(number, &asked, u64::from(sent));
            let call = Call::request { nonce: order.nonce, record: order.record.clone() };
            transactions.push(self.signed_by(asked.by, call));
            self.orders.insert(order.job, order);
        }
        transactions
    }

    fn order(&self, number: usize, asked: &Asked, sent: u64) -> Order {
        let seed = self.case.seed;
        let salt = Salt::from_bytes(bytes(seed, "salt", number as u64));
        let mut request = self.lab.request(asked.prompt, &salt);
        let departs = |what| self.asking(asked.by).any(|rule| rule.what == what);
        if departs(What::Misfit) {
            request.prompt_hash = Digest32::from_bytes(bytes(seed, "misfit", number as u64));
        }
        let price = if departs(What::Broke) { u64::from(u32::MAX) } else { asked.price.into() };
        let account = self.actors[asked.by].account;
        let nonce = self.net.query::<u64>("JobsApi_next_nonce", account) + sent;
        let record = self.record(asked, (&salt, &request), price);
        let job = record.job_id(&self.net.genesis(), &account, nonce);
        let reply_secret = SealingSecret::from_bytes(bytes(seed, "reply", number as u64));
        Order { job, requester: account.into(), nonce, record, salt, request, reply_secret }
    }

    fn record(&self, asked: &Asked, input: (&Salt, &Request), multiple: u64) -> PublicRecord {
        let (salt, request) = input;
        let price = |per_token: u64| Price::new(u128::from(per_token) * u128::from(multiple) * 1_000_000);
        PublicRecord {
            version: PROTOCOL_VERSION,
            class: Class::Exact,
            model_id: self.lab.served.model_id,
            spec_id: self.lab.served.spec_id,
            input_commit: input_commit(salt, &request.to_bytes()),
            n_in: Tokens::new(request.n_in),
            n_max: Tokens::new(request.max_tokens),
            policy: policy(asked),
            prices: Prices { input: price(P_IN), output: price(2 * P_IN), verify_max: price(P_IN) },
            valid_until: Height::new(self.net.height() + 8),
            max_eyes: 0,
            direct_executor: asked.direct.map(|n| self.actors[n].account),
            parent: None,
            verified_range: None,
        }
    }

    /// The receipt with everything disclosed, where the buyer got what was claimed.
    pub fn opened(&self, job: &JobId, record: &SettlementRecord, receipt: Receipt) -> Option<Receipt> {
        let (order, answer) = (self.orders.get(job)?, self.answers.get(job)?);
        record.claim.filter(|claim| is_claimed(claim, order, answer))?;
        let (seed, model) = (order.request.seed(&order.salt, job), order.record.model_id);
        let trace_root = match self.lab.verify(&model, &order.request, &seed, answer).ok()? {
            Outcome::Answer { trace_root, .. } | Outcome::Fail { trace_root, .. } => trace_root,
            Outcome::Reject { .. } => Digest32::ZERO,
        };
        let (tokens, finish) = (answer.tokens.clone(), answer.finish);
        let output = JobOutput { tokens, text: String::new(), finish, trace_root, right_token: 0 };
        Some(order.open(receipt, &output))
    }

    fn asking(&self, n: usize) -> impl Iterator<Item = &Rule> {
        self.case.parties[n].script.iter().filter(|rule| rule.when == When::Asking)
    }
}

fn policy(Asked { verifiers, at_large, .. }: &Asked) -> Policy {
    let verifiers = *verifiers;
    match at_large {
        true => Policy::VerifiedAtLarge { verifiers, weights_bytes: WEIGHTS_BYTES },
        false => Policy::Verified { verifiers },
    }
}
