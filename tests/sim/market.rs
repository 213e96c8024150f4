//! Who sells and who buys: providers with their offers, each at home at a node, and buyers who ask, hand their input over,
//! and post it where they are asked to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use assay_manifest::{Digest32, JobId};
use assay_node::client::Order;
use assay_node::ledger::LedgerHandle;
use assay_node::sealing::{KeyRing, fresh_entropy};
use assay_node::worker::{Desk, Identity, Mailbox, Referee};
use assay_protocol::commitment::{Salt, input_commit};
use assay_protocol::job::{Job, NeedState, Party, Phase, Seat, SeatOutcome};
use assay_protocol::params::FETCHED_BYTES_PER_BLOCK;
use assay_protocol::party::AccountBytes;
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::seal::{Content, Delivery, EncryptionKey, Envelope, InputParcel, Parcel, SealingSecret};
use assay_protocol::signature::Signature;
use assay_protocol::units::{Height, Price, Tokens};
use assay_runtime::{AccountId, RuntimeCall, UNIT};
use pallet_assay_jobs::Call;
use pallet_assay_providers::{AtLarge, Call as ProvidersCall, HardwareClass, ModelOffer, Offer};
use rand::Rng;
use rand::rngs::StdRng;
use sp_core::{Pair, ed25519, sr25519};
use tempfile::TempDir;
use tokio::runtime::Runtime as Tokio;

use crate::genesis::keys;
use crate::model::Lab;
use crate::office::{Clerk, Manner};
use crate::post::Post;
use crate::random::bytes;
use crate::traffic::{Signer, signed};

/// Providers of a run.
pub const PROVIDERS: usize = 8;
/// Those of them, the last, that offer no model and verify at large.
const STRANGERS: usize = 2;
/// The size that requests state.
const WEIGHTS_BYTES: u64 = 3 * FETCHED_BYTES_PER_BLOCK;
/// Buyers of a run.
pub const BUYERS: usize = 3;
/// From one request to the next, in milliseconds.
pub const PACE_MS: std::ops::Range<u64> = 1_000..6_000;
/// Units that a provider stakes.
const STAKE: u128 = 10_000 * UNIT;
/// Base units of a prompt token; a generated one costs twice as much.
const P_IN: u128 = 2_000_000_000;

struct Provider {
    account: ed25519::Pair,
    manner: Manner,
    identity: Identity,
    seal: SealingSecret,
    /// The node that works for it.
    home: usize,
}

/// Somebody who asks. Its account's key also signs what it seals, so it is an sr25519 one.
struct Buyer {
    account: sr25519::Pair,
    home: usize,
}

/// Sellers and buyers of a run.
pub struct Market {
    seed: u64,
    pub lab: Arc<Lab>,
    providers: Vec<Provider>,
    buyers: Vec<Buyer>,
    posts: Vec<Arc<Post>>,
    homes: BTreeMap<AccountBytes, usize>,
    orders: BTreeMap<JobId, Order>,
    handed: HashSet<(JobId, u8)>,
    posted: HashSet<(JobId, u8, EncryptionKey)>,
    asked: u64,
    /// Where keys lie.
    dir: TempDir,
}

pub fn provider_account(seed: u64, number: usize) -> ed25519::Pair {
    ed25519::Pair::from_seed(&bytes(seed, "provider", number as u64))
}

pub fn buyer_account(seed: u64, number: usize) -> sr25519::Pair {
    sr25519::Pair::from_seed(&bytes(seed, "buyer", number as u64))
}

impl Market {
    pub fn new(seed: u64, dice: &mut StdRng, lab: Arc<Lab>, nodes: usize) -> Self {
        let provider = |number: usize| {
            let account = provider_account(seed, number);
            let work_key = sr25519::Pair::from_seed(&bytes(seed, "work", number as u64));
            let identity = Identity { account: account.public().0, work_key };
            let seal = SealingSecret::from_bytes(bytes(seed, "seal", number as u64));
            let manner = match dice.gen_range(0..10) {
                0..=1 => Manner::Lies,
                2 => Manner::Silent,
                _ => Manner::Honest,
            };
            Provider { account, manner, identity, seal, home: number % nodes }
        };
        let providers: Vec<Provider> = (0..PROVIDERS).map(provider).collect();
        let buyer = |number: usize| Buyer {
            account: buyer_account(seed, number),
            home: (number + PROVIDERS) % nodes,
        };
        let buyers: Vec<Buyer> = (0..BUYERS).map(buyer).collect();
        let sellers = providers.iter().map(|provider| (provider.identity.account, provider.home));
        let askers = buyers.iter().map(|buyer| (buyer.account.public().0, buyer.home));
        let judges = (0..nodes).map(|node| (*keys(node).public().as_bytes(), node));
        Self {
            seed,
            lab,
            homes: sellers.chain(askers).chain(judges).collect(),
            providers,
            buyers,
            posts: (0..nodes).map(|_| Arc::default()).collect(),
            orders: BTreeMap::new(),
            handed: HashSet::new(),
            posted: HashSet::new(),
            asked: 0,
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    /// Accounts with tokens at the beginning.
    pub fn accounts(seed: u64) -> impl Iterator<Item = AccountId> {
        let providers = (0..PROVIDERS).map(move |number| provider_account(seed, number).public().0.into());
        let buyers = (0..BUYERS).map(move |number| buyer_account(seed, number).public().0.into());
        providers.chain(buyers)
    }

    pub fn post(&self, node: usize) -> &Arc<Post> {
        &self.posts[node]
    }

    /// Providers that tell the truth, whenever they say something.
    pub fn honest(&self) -> BTreeSet<AccountBytes> {
        let honest = self.providers.iter().filter(|provider| provider.manner != Manner::Lies);
        honest.map(|provider| provider.identity.account).collect()
    }

    /// Where a buyer lives.
    pub fn home_of_buyer(&self, buyer: usize) -> usize {
        self.buyers[buyer].home
    }

    /// Whether somebody who lives at a node buys.
    pub fn has_buyers(&self, node: usize) -> bool {
        self.buyers.iter().any(|buyer| buyer.home == node)
    }

    /// Those for whom a node works.
    pub fn clerks(&self, node: usize) -> Vec<Clerk> {
        let desk = |name: String, secret: SealingSecret| {
            let ring = KeyRing::open(self.dir.path().join(name), vec![secret]).expect("a ring of keys");
            Desk { mailbox: Arc::clone(&self.posts[node]) as _, ring: Arc::new(ring) }
        };
        let own = self.providers.iter().enumerate().filter(|(_, provider)| provider.home == node);
        let mut clerks: Vec<Clerk> = own
            .map(|(number, provider)| Clerk {
                manner: provider.manner,
                desk: desk(format!("provider-{number}"), provider.seal.clone()),
                identity: Some(provider.identity.clone()),
                referee: None,
            })
            .collect();
        let keys = keys(node);
        clerks.push(Clerk {
            manner: Manner::Honest,
            desk: desk(format!("validator-{node}"), keys.encryption),
            identity: None,
            referee: Some(Referee { key: keys.consensus }),
        });
        clerks
    }

    /// Envelopes that a node sends to others in this block, and to whom.
    pub fn mail(&self, node: usize) -> Vec<(usize, Envelope)> {
        let home = |account: &AccountBytes| self.homes.get(account).copied();
        let due = self.posts[node].due(|recipient| home(recipient).is_some_and(|home| home != node));
        due.into_iter().filter_map(|envelope| Some((home(&envelope.recipient)?, envelope))).collect()
    }

    /// Providers that are none yet stake and make their offer.
    pub fn enter(&self, node: usize, ledger: &LedgerHandle, tokio: &Tokio) -> Vec<Vec<u8>> {
        let own = self.providers.iter().enumerate().filter(|(_, provider)| provider.home == node);
        own.filter_map(|(number, provider)| {
            let account = AccountId::from(provider.identity.account);
            let nonce = tokio.block_on(ledger.query::<u32>(None, "AccountNonceApi_account_nonce", account));
            if nonce.ok()? > 0 {
                return None;
            }
            let calls = [
                ProvidersCall::stake {
                    amount: STAKE,
                    work_key: provider.identity.work_key.public().0,
                    encryption_key: provider.seal.public(),
                },
                ProvidersCall::set_offer { offer: self.offer(number) },
            ];
            let calls = calls.map(RuntimeCall::Providers).to_vec();
            let both = RuntimeCall::Utility(pallet_utility::Call::batch_all { calls });
            signed(&Signer::Ed25519(provider.account), both, ledger, tokio)
        })
        .collect()
    }

    fn offer(&self, number: usize) -> Offer {
        let price = Price::new;
        let terms = ModelOffer {
            model_id: self.lab.served.model_id,
            spec_id: self.lab.served.spec_id,
            input: price(P_IN * 1_000_000),
            output: price(2 * P_IN * 1_000_000),
            verify: price(P_IN * 1_000_000),
        };
        let at_large = AtLarge { verify: terms.verify, weights_max_bytes: WEIGHTS_BYTES };
        let (models, at_large) = match number < PROVIDERS - STRANGERS {
            true => (vec![terms], None),
            false => (Vec::new(), Some(at_large)),
        };
        let models = models.try_into().expect("a model at most");
        Offer { models, hardware: HardwareClass::CpuSmall, capacity: 10_000, at_large }
    }

    /// A request of some buyer at its node.
    pub fn ask(
        &mut self,
        dice: &mut StdRng,
        buyer: usize,
        ledger: &LedgerHandle,
        tokio: &Tokio,
    ) -> Option<Vec<u8>> {
        let account = &self.buyers[buyer].account;
        let who = account.public().0;
        let nonce =
            tokio.block_on(ledger.query::<u64>(None, "JobsApi_next_nonce", AccountId::from(who))).ok()?;
        let salt = Salt::from_bytes(bytes(self.seed, "salt", self.asked));
        let reply_secret = SealingSecret::from_bytes(bytes(self.seed, "reply", self.asked));
        self.asked += 1;
        let request = self.lab.request(dice.gen_range(0..crate::model::PROMPTS), &salt);
        let price = |per_token: u128| Price::new(per_token * 1_000_000);
        let record = PublicRecord {
            version: PROTOCOL_VERSION,
            class: Class::Exact,
            model_id: self.lab.served.model_id,
            spec_id: self.lab.served.spec_id,
            input_commit: input_commit(&salt, &request.to_bytes()),
            n_in: Tokens::new(request.n_in),
            n_max: Tokens::new(request.max_tokens),
            policy: match dice.gen_range(0..4) {
                0 => Policy::VerifiedAtLarge { verifiers: 2, weights_bytes: WEIGHTS_BYTES },
                1 => Policy::Verified { verifiers: 2 },
                // Which is refused.
                _ => Policy::Verified { verifiers: 1 },
            },
            prices: Prices { input: price(P_IN), output: price(2 * P_IN), verify_max: price(P_IN) },
            valid_until: Height::new(ledger.head().number + 12),
            max_eyes: 0,
            direct_executor: None,
            parent: None,
            verified_range: None,
        };
        let genesis = Digest32::from_bytes(ledger.genesis().0);
        let job = record.job_id(&genesis, &who, nonce);
        let call = RuntimeCall::Jobs(Call::request { nonce, record: record.clone() });
        let transaction = signed(&Signer::Sr25519(account.clone()), call, ledger, tokio)?;
        let requester = who.into();
        self.orders.insert(job, Order { job, requester, nonce, record, salt, request, reply_secret });
        Some(transaction)
    }

    /// What the buyers at a node do at a block: hand their input to whoever executes, and post it where that is asked for.
    pub fn serve_buyers(
        &mut self,
        node: usize,
        open: &[Job],
        ledger: &LedgerHandle,
        tokio: &Tokio,
    ) -> Vec<Vec<u8>> {
        let mut transactions = Vec::new();
        for job in open {
            let buyer = self.buyers.iter().find(|buyer| buyer.account.public().0 == job.requester);
            let Some(account) = buyer.filter(|buyer| buyer.home == node).map(|buyer| buyer.account.clone())
            else {
                continue;
            };
            let Phase::Assigned { .. } = job.phase else { continue };
            let seat = job.executor().filter(|seat| seat.outcome == SeatOutcome::Pending);
            let (Some(seat), Some(order)) = (seat, self.orders.get(&job.id)) else { continue };
            let parcel = Parcel::Input(InputParcel {
                salt: order.salt.clone(),
                request: order.request.clone(),
                reply_key: order.reply_secret.public(),
            });
            let delivery = delivery(job, seat);
            if self.handed.insert((job.id, seat.index)) {
                let sign = |digest: &Digest32| Signature(account.sign(digest.as_bytes()).0);
                let envelope =
                    Envelope::seal(&delivery, &parcel, &seat.encryption_key, fresh_entropy(), sign);
                self.posts[node].put(&[envelope.expect("a parcel that fits")]).expect("a mailbox");
            }
            let asked =
                job.need(Party::Seat(seat.index)).filter(|need| matches!(need.state, NeedState::Open { .. }));
            let Some(key) = asked.map(|need| need.key) else { continue };
            if self.posted.insert((job.id, seat.index, key)) {
                let package = delivery.seal(&parcel, &key, fresh_entropy()).expect("a parcel that fits");
                let package = package.try_into().expect("a package has a largest size");
                let call = RuntimeCall::Jobs(Call::post_input { job: job.id, seat: seat.index, package });
                transactions.extend(signed(&Signer::Sr25519(account), call, ledger, tokio));
            }
        }
        transactions
    }
}

fn delivery<'a>(job: &'a Job, seat: &Seat) -> Delivery<'a> {
    let (sender, recipient, content) = (job.requester, seat.provider, Content::Input(&job.record));
    Delivery { genesis: job.genesis, job: job.id, sender, recipient, seat: seat.index, content }
}
