//! Money: every account's wealth moves by what events and records say, once, and the issuance with it.

use std::collections::BTreeMap;

use assay_node::ledger::FinalizedBlock;
use assay_protocol::job::{Job, SeatRecord, SettlementRecord};
use assay_protocol::party::AccountBytes;
use assay_runtime::{Balance, RuntimeEvent, RuntimeHoldReason};
use pallet_transaction_payment::Event::TransactionFeePaid;

use crate::chain::pot;
use crate::world::World;

/// Everybody's wealth at the head, and what it was when the market opened.
#[derive(Clone, Debug, Default)]
pub struct Books {
    wealth: BTreeMap<AccountBytes, Balance>,
    first: BTreeMap<AccountBytes, Balance>,
    /// Fees of transactions that each account has paid.
    fees: BTreeMap<AccountBytes, Balance>,
    issuance: Balance,
}

/// Stake that one provider lost in a block.
#[derive(Clone, Copy, Debug)]
pub struct Forfeit {
    pub provider: AccountBytes,
    pub amount: Balance,
    pub burned: Balance,
}

impl Books {
    pub fn of(world: &World) -> Self {
        let accounts = world.actors.iter().map(|actor| actor.account).chain([pot().into()]);
        let wealth: BTreeMap<_, _> = accounts.map(|account| (account, world.net.wealth(&account))).collect();
        Self { first: wealth.clone(), wealth, fees: BTreeMap::new(), issuance: world.net.issuance() }
    }

    /// What the account has gained, but for the fees of its transactions.
    pub fn profit(&self, who: &AccountBytes) -> i128 {
        let of = |book: &BTreeMap<AccountBytes, Balance>| book.get(who).copied().unwrap_or(0) as i128;
        of(&self.wealth) - of(&self.first) + of(&self.fees)
    }
}

/// What left a provider's stake in this block.
pub fn forfeits(block: &FinalizedBlock) -> Vec<Forfeit> {
    use pallet_assay_providers::Event::Forfeited;
    let forfeited = |event: &RuntimeEvent| match event {
        RuntimeEvent::Providers(Forfeited { provider, amount, burned }) => {
            Some(Forfeit { provider: provider.clone().into(), amount: *amount, burned: *burned })
        }
        _ => None,
    };
    block.events.iter().filter_map(|record| forfeited(&record.event)).collect()
}

fn fees(block: &FinalizedBlock) -> BTreeMap<AccountBytes, Balance> {
    let mut fees = BTreeMap::new();
    for record in &block.events {
        if let RuntimeEvent::TransactionPayment(TransactionFeePaid { who, actual_fee, tip }) = &record.event {
            *fees.entry(who.clone().into()).or_default() += actual_fee + tip;
        }
    }
    fees
}

impl World {
    /// Compares the accounts after a block with what its events and `records` explain.
    pub fn check_money(
        &mut self,
        block: &FinalizedBlock,
        records: &[SettlementRecord],
    ) -> Result<(), String> {
        let now = Books::of(self);
        let (forfeits, fees) = (forfeits(block), fees(block));
        let other = other_moves(block);
        let burned = fees.values().sum::<Balance>()
            + other.burned
            + forfeits.iter().map(|forfeit| forfeit.burned).sum::<Balance>()
            + self.firsts(records).map(|record| record.payments.burned.get()).sum::<Balance>();
        if self.books.issuance != now.issuance + burned {
            let (before, after) = (self.books.issuance, now.issuance);
            return Err(format!("issuance is conserved: {before} before, {burned} burned, {after} after"));
        }
        let mut expected = self.explained(records);
        self.check_looks(records, &other.paid_by_pot)?;
        for (who, amount) in other.moved {
            *expected.entry(who).or_default() += amount;
        }
        for (who, fee) in &fees {
            *expected.entry(*who).or_default() -= *fee as i128;
        }
        for forfeit in &forfeits {
            *expected.entry(forfeit.provider).or_default() -= forfeit.amount as i128;
        }
        self.check_shares(&now, expected, (&forfeits, records))?;
        for (who, fee) in fees {
            *self.books.fees.entry(who).or_default() += fee;
        }
        (self.books.wealth, self.books.issuance) = (now.wealth, now.issuance);
        Ok(())
    }

    /// What seats of settled jobs got since the last block is what the pot has paid; records say the same.
    fn check_looks(
        &mut self,
        records: &[SettlementRecord],
        paid_by_pot: &BTreeMap<AccountBytes, Balance>,
    ) -> Result<(), String> {
        let mut grown = BTreeMap::<AccountBytes, Balance>::new();
        for job in &self.open {
            let Some(tracked) = self.tracked.get_mut(&job.id) else { continue };
            let Some(settlement) = tracked.records.first() else { continue };
            if tracked.paid.is_empty() {
                tracked.paid = settlement.seats.iter().map(|seat| (seat.index, seat.paid.get())).collect();
            }
            for seat in &job.seats {
                let before = tracked.paid.insert(seat.index, seat.paid.get()).unwrap_or(0);
                let more = seat.paid.get().checked_sub(before).ok_or("pay is taken back")?;
                *grown.entry(seat.provider).or_default() += more;
            }
        }
        grown.retain(|_, amount| *amount > 0);
        if grown != *paid_by_pot {
            return Err(format!("the pot pays for looks: seats got {grown:?}, it paid {paid_by_pot:?}"));
        }
        for record in records {
            let tracked = &self.tracked[&record.job];
            let is_last = tracked.records.last() == Some(record);
            let stated = |seat: &SeatRecord| tracked.paid.get(&seat.index) == Some(&seat.paid.get());
            if is_last && !tracked.paid.is_empty() && !record.seats.iter().all(stated) {
                return Err(format!("records are true: {} says other pay than the seats", record.job));
            }
        }
        Ok(())
    }

    /// What is left when everything else is explained are shares of forfeited bonds, and all of them.
    fn check_shares(
        &self,
        now: &Books,
        mut expected: BTreeMap<AccountBytes, i128>,
        (forfeits, records): (&[Forfeit], &[SettlementRecord]),
    ) -> Result<(), String> {
        let mut shares = 0;
        for (who, wealth) in &now.wealth {
            let moved = *wealth as i128 - self.books.wealth[who] as i128;
            let share = moved - expected.remove(who).unwrap_or(0);
            if share < 0 || share > 0 && !self.may_share(who, records) {
                return Err(format!("payments happen once: {} moved {share} unexplained", hex::encode(who)));
            }
            shares += share;
        }
        let divided: i128 = forfeits.iter().map(|f| (f.amount - f.burned) as i128).sum();
        if shares != divided {
            return Err(format!("forfeits are divided whole: {divided} to divide, {shares} arrived"));
        }
        Ok(())
    }

    /// The records that settle a job, without those that say more of one.
    pub fn firsts<'a>(
        &'a self,
        records: &'a [SettlementRecord],
    ) -> impl Iterator<Item = &'a SettlementRecord> {
        records.iter().filter(|record| self.tracked[&record.job].records.first() == Some(record))
    }

    /// What the records alone say of each account's wealth; escrow counted as the requester's until it is spent.
    /// What a job's later records repeat moves nothing again: the pot pays then, which its transfers explain.
    fn explained(&self, records: &[SettlementRecord]) -> BTreeMap<AccountBytes, i128> {
        let mut moved = BTreeMap::new();
        let mut add = |who: AccountBytes, amount: i128| *moved.entry(who).or_default() += amount;
        for record in records {
            if self.tracked[&record.job].records.first() != Some(record) {
                continue;
            }
            for seat in record.seats.iter() {
                add(seat.provider, seat.paid.get() as i128);
            }
            let payments = record.payments;
            let spent = [payments.executor, payments.verifiers, payments.pot, payments.burned];
            add(record.requester, -(spent.iter().map(|part| part.get()).sum::<Balance>() as i128));
            add(pot().into(), payments.pot.get() as i128);
        }
        moved
    }

    /// Whether the account may have a share of a bond that was forfeited: the pot, and the parties of a job.
    fn may_share(&self, who: &AccountBytes, records: &[SettlementRecord]) -> bool {
        let of_record = |record: &SettlementRecord| {
            record.requester == *who || record.seats.iter().any(|seat| seat.provider == *who)
        };
        let of_job = |job: &Job| job.requester == *who || job.seats.iter().any(|seat| seat.provider == *who);
        AccountBytes::from(pot()) == *who || records.iter().any(of_record) || self.open.iter().any(of_job)
    }
}

/// Money that moves without a record: deposits that end, and what the pot spends on later looks.
#[derive(Default)]
struct OtherMoves {
    burned: Balance,
    moved: BTreeMap<AccountBytes, i128>,
    paid_by_pot: BTreeMap<AccountBytes, Balance>,
}

fn other_moves(block: &FinalizedBlock) -> OtherMoves {
    use pallet_balances::Event::{Burned, BurnedHeld, Transfer, TransferOnHold};
    let deposit = RuntimeHoldReason::Jobs(pallet_assay_jobs::HoldReason::Deposit);
    let mut other = OtherMoves::default();
    for record in &block.events {
        let RuntimeEvent::Balances(event) = &record.event else { continue };
        match event {
            BurnedHeld { reason, who, amount } if *reason == deposit => {
                other.burned += amount;
                *other.moved.entry(who.clone().into()).or_default() -= *amount as i128;
            }
            Burned { who, amount } if *who == pot() => {
                other.burned += amount;
                *other.moved.entry(pot().into()).or_default() -= *amount as i128;
            }
            Transfer { from, to, amount } if *from == pot() => {
                *other.moved.entry(from.clone().into()).or_default() -= *amount as i128;
                *other.moved.entry(to.clone().into()).or_default() += *amount as i128;
                *other.paid_by_pot.entry(to.clone().into()).or_default() += amount;
            }
            TransferOnHold { reason, source, dest, amount } if *reason == deposit => {
                *other.moved.entry(source.clone().into()).or_default() -= *amount as i128;
                *other.moved.entry(dest.clone().into()).or_default() += *amount as i128;
            }
            _ => {}
        }
    }
    other
}
