//! For the tests of commands: arguments as they are typed, in a directory of their own; and a job's record.

use std::path::Path;

use assay_manifest::Digest32;
use assay_protocol::job::{Payments, SettlementRecord, Verdict};
use assay_protocol::record::{Prices, PublicRecord};
use assay_protocol::units::{Amount, Height, Price, Tokens};
use clap::{Args, Parser};

use super::context::{Context, Globals};
use crate::fixtures::record;

#[derive(Parser)]
struct Line<T: Args> {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    command: T,
}

#[derive(Args)]
struct Nothing {}

/// A command's arguments and its context, with all directories below `base`.
pub fn parse<T: Args>(base: &Path, arguments: &[&str]) -> (Context, T) {
    let base = ["assay", "--base-path", base.to_str().unwrap()];
    let line = Line::<T>::parse_from(base.iter().chain(arguments));
    (Context::new(line.globals), line.command)
}

/// A context alone.
pub fn context(base: &Path, arguments: &[&str]) -> Context {
    parse::<Nothing>(base, arguments).0
}

/// A job for which no executor was found, recorded at height 7 as the only entry of the log.
pub fn settlement() -> SettlementRecord {
    let price = Price::new(1);
    let request = PublicRecord {
        input_commit: Digest32::from_bytes([3; 32]),
        n_in: Tokens::new(5),
        n_max: Tokens::new(6),
        prices: Prices { input: price, output: price, verify_max: price },
        ..record()
    };
    let (genesis, requester) = (Digest32::from_bytes([9; 32]), [4; 32]);
    SettlementRecord {
        job: request.job_id(&genesis, &requester, 1),
        genesis,
        requester,
        nonce: 1,
        request,
        bond: Amount::new(10),
        round: 1,
        verdict: Verdict::Inconclusive,
        opening: None,
        value: None,
        claim: None,
        executor_draw: None,
        verifier_draw: None,
        at_large_draw: None,
        recheck_draw: None,
        seats: Default::default(),
        payments: Payments::default(),
        settled_at: Height::new(7),
    }
}
