//! The amounts of one job, in units of its fee, from the functions that the ledger runs.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::fees::{self, PROTOCOL_FEE_PERCENT, Quote, divide_forfeit};
use assay_protocol::params::Params;
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::units::{Amount, Height, Price, Tokens};

/// Most of a fee that a party saves by not doing the work: nobody works for less than a tenth of it.
pub const WORK_SHARE: f64 = 0.9;

/// What a job is about.
#[derive(Clone, Copy, Debug)]
pub struct Deal {
    pub n_in: u32,
    pub n_out: u32,
    /// Base units of a token.
    pub p_in: u64,
    pub p_out: u64,
    pub p_verify: u64,
    pub verifiers: u8,
    pub validators: u32,
}

impl Deal {
    /// A chat at the prices of the development market.
    pub const CHAT: Self = Self {
        n_in: 64,
        n_out: 512,
        p_in: 1_000_000_000,
        p_out: 2_000_000_000,
        p_verify: 500_000_000,
        verifiers: 2,
        validators: 1,
    };

    fn record(&self) -> PublicRecord {
        let price = |per_token: u64| Price::new(u128::from(per_token) * 1_000_000);
        PublicRecord {
            version: PROTOCOL_VERSION,
            class: Class::Exact,
            model_id: ModelId::from_bytes([0; 32]),
            spec_id: SpecId::from_bytes([0; 32]),
            input_commit: Digest32::ZERO,
            n_in: Tokens::new(self.n_in),
            n_max: Tokens::new(self.n_out),
            policy: Policy::Verified { verifiers: self.verifiers },
            prices: Prices {
                input: price(self.p_in),
                output: price(self.p_out),
                verify_max: price(self.p_in),
            },
            valid_until: Height::ZERO,
            max_eyes: 0,
            direct_executor: None,
            parent: None,
            verified_range: None,
        }
    }
}

/// Amounts in units of F.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub verifiers: usize,
    /// A.
    pub check: f64,
    /// A where nothing was generated.
    pub check_of_prompt: f64,
    /// F where nothing was generated.
    pub fee_of_prompt: f64,
    /// B.
    pub bond: f64,
    /// What a seat gets of a whole bond, and of half a bond, beside others that were right.
    pub share_of_bond: f64,
    pub share_of_half: f64,
    /// The protocol's part of the fee.
    pub protocol: f64,
    /// One feeless step.
    pub step: f64,
    /// One verification by each validator.
    pub referee: f64,
}

impl Terms {
    pub fn of(deal: &Deal, params: &Params) -> Self {
        let record = deal.record();
        let quote: Quote = fees::quote(&record, params, deal.validators).expect("a quote");
        let in_fees = |amount: Amount| amount.get() as f64 / quote.job_fee.get() as f64;
        let verify = Price::new(u128::from(deal.p_verify) * 1_000_000);
        let check = |n_out| fees::verification_fee(verify, record.n_in, Tokens::new(n_out)).expect("a fee");
        let right = u32::from(deal.verifiers);
        let share = |forfeited: Amount| {
            let parts = divide_forfeit(forfeited, quote.job_fee, right, Amount::ZERO).expect("a division");
            in_fees(parts.each_right_seat)
        };
        Self {
            verifiers: usize::from(deal.verifiers),
            check: in_fees(check(deal.n_out)),
            check_of_prompt: in_fees(check(0)),
            fee_of_prompt: in_fees(fees::job_fee(&record, Tokens::ZERO).expect("a fee")),
            bond: in_fees(quote.bond),
            share_of_bond: share(quote.bond),
            share_of_half: share(quote.bond.share_down(1, 2).expect("a half")),
            protocol: PROTOCOL_FEE_PERCENT as f64 / 100.0,
            step: in_fees(params.step_fee),
            referee: in_fees(quote.referee_cost),
        }
    }
}

/// Of whom the other seats are drawn, given that one seat is the coalition's.
#[derive(Clone, Copy, Debug)]
pub enum Draw {
    /// Many small accounts, of which the coalition holds this share: its best case.
    Many(f64),
    /// So many of equal stake, of which so many belong to the coalition.
    Few { all: usize, members: usize },
}

impl Draw {
    /// The chance that so many of `seats` further seats are friends'.
    pub fn chance(self, seats: usize, friends: usize) -> f64 {
        // Friends first; the order of a draw does not matter to its chance.
        let mut chance = choose(seats, friends);
        let mut left = match self {
            Self::Many(share) => (share, 1.0 - share),
            Self::Few { all, members } => ((members - 1) as f64, (all - members) as f64),
        };
        for seat in 0..seats {
            let whole = left.0 + left.1;
            let from = if seat < friends { &mut left.0 } else { &mut left.1 };
            chance *= (*from / whole).max(0.0);
            if let Self::Few { .. } = self {
                *from -= 1.0;
            }
        }
        chance
    }

    /// The chance that one further provider is a stranger.
    pub fn stranger(self) -> f64 {
        self.chance(1, 0)
    }
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
}
