//! A chain fixes its parameters at genesis: those with which it would be stuck are refused there.

use assay_protocol::params::Params;
use assay_protocol::units::Amount;
use assay_runtime::{EXISTENTIAL_DEPOSIT, GenesisSpec};

use crate::support::genesis;

#[test]
fn a_chain_whose_parameters_contradict_one_another_is_refused_by_their_name() {
    let base = genesis().params;
    let cases = [
        ("unbondingWindow", Params { unbonding_window: base.challenge_window, ..base.clone() }),
        ("executorDrawDelay", Params { executor_draw_delay: 1, ..base.clone() }),
        ("newcomerScore", Params { newcomer_score: Amount::new(1), ..base.clone() }),
        ("stakeMin", Params { stake_min: Amount::ZERO, ..base.clone() }),
        (
            "jobFeeMin",
            Params {
                job_fee_min: Amount::new(EXISTENTIAL_DEPOSIT - 50),
                newcomer_score: Amount::new((EXISTENTIAL_DEPOSIT - 50) / 5),
                ..base.clone()
            },
        ),
    ];
    for (name, params) in cases {
        let refusal = GenesisSpec { params, ..genesis() }.storage().unwrap_err();
        assert!(refusal.contains(name), "{name}: {refusal}");
    }
    for params in [Params::MAIN, Params::DEVELOPMENT] {
        assert!(GenesisSpec { params, ..genesis() }.storage().is_ok());
    }
}
