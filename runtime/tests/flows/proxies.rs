//! What a proxy of limited rights may do for its account, alone and in a batch.

use assay_manifest::{ArtifactId, Digest32, JobId};
use assay_runtime::{AccountId, Address, Proxy, Runtime, RuntimeCall, RuntimeEvent, RuntimeOrigin, System};
use frame_support::traits::InstanceFilter;
use frame_support::weights::Weight;
use pallet_assay_artifacts::Call as ArtifactsCall;
use pallet_assay_providers::Call as ProvidersCall;
use sp_io::TestExternalities;

use crate::market::{P_VERIFY, account, offer};
use crate::support::genesis;

type ProxyType = <Runtime as pallet_proxy::Config>::ProxyType;

/// What takes, holds or frees tokens, or makes a stranger's keys those of the account, with its name.
fn calls_of_the_account_alone() -> Vec<(&'static str, RuntimeCall)> {
    let someone = Address::Id(account(2).into());
    let (work_key, encryption_key, digest) = ([0; 32], Digest32::ZERO, Digest32::ZERO);
    let artifact = ArtifactId::ZERO;
    let transfer = pallet_balances::Call::transfer_allow_death { dest: someone.clone(), value: 1 };
    let stake = ProvidersCall::stake { amount: 1, work_key, encryption_key };
    let add_proxy =
        pallet_proxy::Call::add_proxy { delegate: someone, proxy_type: ProxyType::NonTransfer, delay: 0 };
    let approve = pallet_multisig::Call::approve_as_multi {
        threshold: 2,
        other_signatories: vec![account(2).into()],
        maybe_timepoint: None,
        call_hash: [0; 32],
        max_weight: Weight::zero(),
    };
    vec![
        ("transfer", transfer.into()),
        ("challenge", pallet_assay_jobs::Call::challenge { job: JobId::ZERO }.into()),
        ("stake", stake.into()),
        ("unstake", ProvidersCall::unstake { amount: 1 }.into()),
        ("withdraw", ProvidersCall::withdraw {}.into()),
        ("set keys", ProvidersCall::set_keys { work_key, encryption_key }.into()),
        ("commit to an artifact", ArtifactsCall::commit_prior { commitment: digest }.into()),
        ("withdraw a registration", ArtifactsCall::unregister { artifact }.into()),
        ("withdraw an edge", ArtifactsCall::withdraw_edge { child: artifact, id: digest }.into()),
        ("add a proxy", add_proxy.into()),
        ("approve", approve.into()),
    ]
}

fn batch(call: RuntimeCall) -> RuntimeCall {
    pallet_utility::Call::batch { calls: vec![call] }.into()
}

#[test]
fn a_proxy_that_moves_no_tokens_can_neither_buy_nor_stake_nor_hold_deposits_nor_set_keys() {
    for (what, call) in calls_of_the_account_alone() {
        assert!(!ProxyType::NonTransfer.filter(&call), "{what}");
        assert!(ProxyType::Any.filter(&call), "{what}");
    }
    let remark: RuntimeCall = frame_system::Call::remark { remark: Vec::new() }.into();
    let announce: RuntimeCall = ProvidersCall::set_offer { offer: offer(P_VERIFY) }.into();
    for call in [remark, batch(announce.clone()), announce] {
        assert!(ProxyType::NonTransfer.filter(&call), "{call:?}");
    }
}

#[test]
fn a_batch_does_not_get_past_the_limits_of_a_proxy() {
    let [owner, proxy] = [0, 1].map(|n| AccountId::from(account(n)));
    TestExternalities::new(genesis().storage().unwrap()).execute_with(|| {
        System::set_block_number(1);
        let (delegate, limits) = (Address::Id(proxy.clone()), ProxyType::NonTransfer);
        Proxy::add_proxy(RuntimeOrigin::signed(owner.clone()), delegate, limits, 0).unwrap();
        for (what, call) in calls_of_the_account_alone() {
            System::reset_events();
            let (real, call) = (Address::Id(owner.clone()), Box::new(batch(call)));
            Proxy::proxy(RuntimeOrigin::signed(proxy.clone()), real, None, call).unwrap();
            let error = frame_system::Error::<Runtime>::CallFiltered.into();
            let refused = pallet_utility::Event::BatchInterrupted { index: 0, error };
            let refused = RuntimeEvent::Utility(refused);
            assert!(System::events().iter().any(|record| record.event == refused), "{what}");
        }
    });
}
