//! A validator rules from the command line on a definition that its chain has paused.

use std::path::Path;
use std::time::Duration;

use assay_manifest::Digest32;
use assay_node::adapters::RedbKv;
use assay_node::chain_spec::ChainSpec;
use assay_node::data_dir::DataDir;
use assay_runtime::GenesisSpec;
use pallet_assay_validators::ValidatorInfo;
use serde_json::json;

use crate::market::{Market, params, two};
use crate::pausing::pause;
use crate::process::{NodeProcess, Setup, failure, json, run};
use crate::support::{VRF_SEED, authority, genesis, referee_secret};

const CHAIN: &str = "paused";

#[test]
fn a_validator_confirms_or_annuls_what_its_chain_has_paused() {
    for (answer, standing) in [("confirm", "confirmed"), ("annul", "annulled")] {
        let dir = tempfile::tempdir().unwrap();
        let node = paused(dir.path());
        let common = ["--rpc", &node.rpc, "--base-path", dir.path().to_str().unwrap(), "--chain", CHAIN];
        let spec = two().spec_id.to_string();
        let other = Digest32::from_bytes([9; 32]).to_string();
        let rule = [&["chain", "rule", &spec, answer][..], &common, &["--json"]].concat();
        let rule_other = [&["chain", "rule", &other, answer][..], &common].concat();
        let info = || json(&[&["chain", "info"][..], &common, &["--json"]].concat())["questioned"].clone();
        assert_eq!((&info()[0]["spec"], &info()[0]["standing"]), (&json!(spec), &json!("paused")));
        let text = run(&[&["chain", "info"][..], &common].concat());
        assert!(String::from_utf8_lossy(&text.stdout).contains("assay chain rule"));

        let (code, told) = failure(&rule_other);
        assert_eq!(code, 2, "{told}");
        assert!(told.contains("nobody asks about it") && told.contains("assay chain info"), "{told}");

        let ruled = json(&rule);
        assert_eq!((&ruled["spec"], &ruled["ruling"]), (&json!(spec), &json!(answer)));
        assert_eq!(ruled["standing"], standing, "the only validator's vote decides");
        assert_eq!(info()[0]["standing"], standing);
        let (code, told) = failure(&rule);
        assert_eq!(code, 2, "{told}");
        assert!(told.contains(standing), "{told}");

        // A machine that has lost one of its keys, and one that is no validator of this chain.
        let roles = dir.path().join(CHAIN).join("keystore/roles");
        std::fs::remove_file(roles.join("consensus.json")).unwrap();
        let (code, told) = failure(&rule);
        assert_eq!(code, 7, "{told}");
        assert!(told.contains("only some of a validator's three keys"), "{told}");
        for other in ["vrf.json", "encryption.json"] {
            std::fs::remove_file(roles.join(other)).unwrap();
        }
        let (code, told) = failure(&rule);
        assert_eq!(code, 2, "{told}");
        assert!(told.contains("the keys of its authority are not here"), "{told}");
    }
}

/// A node of a chain in whose ledger two providers were found wrong, and a third would be next.
fn paused(base: &Path) -> NodeProcess {
    let genesis = GenesisSpec { params: params(), ..genesis() };
    let spec = ChainSpec { name: CHAIN.into(), id: CHAIN.into(), block_time_ms: 100, genesis };
    let data = DataDir::create(base, &spec, None).unwrap();
    let mut market = Market::kept_in(RedbKv::open(&data.ledger()).unwrap(), 9, &spec.genesis);
    pause(&mut market);
    drop(market);
    keep_keys(&data, &spec.genesis.validators[0]);
    let block_time = Duration::from_millis(spec.block_time_ms);
    Setup { chain: Some(CHAIN.into()), block_time, ..Setup::in_dir(base) }.start()
}

/// Puts the keys of the chain's validator where its machine looks for them.
fn keep_keys(data: &DataDir, public: &ValidatorInfo) {
    let roles = data.root().join("keystore/roles");
    let keys = [
        ("consensus", public.key, authority().to_bytes()),
        ("vrf", public.vrf_key, VRF_SEED),
        ("encryption", public.encryption_key, *referee_secret().as_bytes()),
    ];
    for (role, public, secret) in keys {
        let file = json!({
            "format": "assay-role-key",
            "version": 1,
            "role": role,
            "public": public,
            "secret": format!("0x{}", hex::encode(secret)),
        });
        let path = roles.join(role).with_extension("json");
        assay_node::private_file::create(&path, file.to_string().as_bytes()).unwrap();
    }
}
