//! Ten thousand nested calls, by every route into the runtime: refused, and the process lives.

mod support;

use assay_runtime::executor::{ChainError, decode_block, decode_extrinsic};
use assay_runtime::{Address, RuntimeCall, general};
use codec::{Compact, Encode};
use sp_runtime::MultiAddress;
use support::*;

const LEVELS: usize = 10_000;

/// Bytes that appear nowhere else in a wrapper.
fn leaf() -> RuntimeCall {
    RuntimeCall::System(frame_system::Call::remark { remark: b"leaf".to_vec() })
}

/// Every call that holds another, with a name for messages.
fn wrappers() -> Vec<(&'static str, RuntimeCall)> {
    use pallet_multisig::Call as Multisig;
    use pallet_proxy::Call as Proxy;
    use pallet_utility::Call as Utility;
    let inner = || Box::new(leaf());
    let real: Address = MultiAddress::Id(accounts()[0].clone());
    vec![
        ("batch", RuntimeCall::Utility(Utility::batch { calls: vec![leaf()] })),
        ("batch_all", RuntimeCall::Utility(Utility::batch_all { calls: vec![leaf()] })),
        ("force_batch", RuntimeCall::Utility(Utility::force_batch { calls: vec![leaf()] })),
        ("as_derivative", RuntimeCall::Utility(Utility::as_derivative { index: 0, call: inner() })),
        ("if_else", RuntimeCall::Utility(Utility::if_else { main: inner(), fallback: inner() })),
        ("proxy", RuntimeCall::Proxy(Proxy::proxy { real, force_proxy_type: None, call: inner() })),
        (
            "as_multi_threshold_1",
            RuntimeCall::Multisig(Multisig::as_multi_threshold_1 {
                other_signatories: vec![],
                call: inner(),
            }),
        ),
    ]
}

/// The wrapper within itself as bytes: a value this deep cannot be built.
fn nested_call(wrapper: &RuntimeCall, levels: usize) -> Vec<u8> {
    let (whole, inner) = (wrapper.encode(), leaf().encode());
    let at = whole.windows(inner.len()).position(|window| window == inner).expect("it holds the leaf");
    let (before, after) = (&whole[..at], &whole[at + inner.len()..]);
    [before.repeat(levels), inner, after.repeat(levels)].concat()
}

/// The three kinds of transaction, each around the same call.
fn transactions(network: &Network, wrapper: &RuntimeCall, levels: usize) -> Vec<(&'static str, Vec<u8>)> {
    let call = nested_call(wrapper, levels);
    let around = |extrinsic: Vec<u8>| {
        let leaf = leaf().encode();
        // Without the length in front, a transaction ends with its call.
        let body = extrinsic.strip_suffix(leaf.as_slice()).expect("the call comes last");
        let prefix = Compact::<u32>(u32::try_from(extrinsic.len()).unwrap()).encode().len();
        let content = [&body[prefix..], &call].concat();
        [Compact(u32::try_from(content.len()).unwrap()).encode(), content].concat()
    };
    let bare = assay_runtime::UncheckedExtrinsic::new_bare(leaf());
    vec![
        ("bare", around(bare.encode())),
        ("general", around(general(leaf()).encode())),
        ("signed", around(network.sign(&alice(), leaf()).encode())),
    ]
}

#[test]
fn the_fixtures_are_transactions_when_they_are_shallow() {
    let network = Network::new();
    for (wrapper, call) in wrappers() {
        for (kind, bytes) in transactions(&network, &call, 3) {
            assert!(decode_extrinsic(&bytes).is_ok(), "{wrapper}, {kind}");
        }
    }
}

#[test]
fn ten_thousand_nested_calls_are_refused_by_every_route() {
    let network = Network::new();
    let lease = network.chain.reader().at(None).unwrap();
    let header = network.propose(vec![]).unwrap().block.header.encode();
    for (wrapper, call) in wrappers() {
        for (kind, deep) in transactions(&network, &call, LEVELS) {
            let what = format!("{wrapper}, {kind}");
            assert!(matches!(decode_extrinsic(&deep), Err(ChainError::BadExtrinsic(_))), "{what}");
            assert!(matches!(lease.validate(&deep), Err(ChainError::BadExtrinsic(_))), "{what}");
            let block = [&header[..], &Compact(1u32).encode(), &deep].concat();
            assert!(matches!(decode_block(&block), Err(ChainError::InvalidBlock(_))), "{what}");
            for (function, args) in arguments(&deep, &block) {
                assert!(lease.call(function, &args).is_err(), "{what}, {function}");
            }
        }
    }
    assert!(lease.walk().unwrap() > 10, "the process lives, and so does the state");
}

/// Every function of the runtime whose arguments hold a transaction or a block.
fn arguments(extrinsic: &[u8], block: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let validate = [&[2u8], extrinsic, &[0; 32]].concat();
    let info = [extrinsic, &4u32.to_le_bytes()].concat();
    vec![
        ("TaggedTransactionQueue_validate_transaction", validate),
        ("TransactionPaymentApi_query_info", info.clone()),
        ("TransactionPaymentApi_query_fee_details", info),
        ("BlockBuilder_apply_extrinsic", extrinsic.to_vec()),
        ("BlockBuilder_check_inherents", [block, &Compact(0u32).encode()].concat()),
        ("Core_execute_block", block.to_vec()),
    ]
}

#[test]
fn no_other_function_of_the_runtime_takes_a_transaction() {
    // A function that is added must be looked at here: does it decode what callers send?
    let known = [
        "Core",
        "Metadata",
        "BlockBuilder",
        "TaggedTransactionQueue",
        "AccountNonceApi",
        "TransactionPaymentApi",
        "ArtifactsApi",
        "ProvidersApi",
        "JobsApi",
        "LedgerApi",
    ];
    assert_eq!(assay_runtime::VERSION.apis.len(), known.len(), "known are {known:?}");
}
