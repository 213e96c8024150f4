//! Chain specifications.

use assay_node::chain_spec::ChainSpec;
use assay_runtime::executor::{Chain, ChainError, MemoryKv, Retention};

use crate::chain;

/// The development chain's, and the smallest that can be read.
pub fn seeds() -> Vec<Vec<u8>> {
    let spec = chain::spec();
    let bare = ChainSpec {
        genesis: assay_runtime::GenesisSpec { endowments: Vec::new(), ..spec.genesis.clone() },
        ..spec.clone()
    };
    [spec, &bare].map(|spec| serde_json::to_vec(spec).expect("it is JSON")).to_vec()
}

/// A specification that is read is written as it was read; its chain opens and makes a block, or it is refused.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<ChainSpec>(data) else { return };
    let json = serde_json::to_vec(&spec).expect("it is JSON");
    assert_eq!(serde_json::from_slice::<ChainSpec>(&json).expect("our own JSON"), spec);
    match Chain::open(MemoryKv::default(), &spec.genesis, Retention::Archive) {
        Ok(chain) => makes_a_block(&chain, &spec),
        Err(ChainError::BadGenesis(cause)) => assert!(!cause.is_empty()),
        Err(error) => panic!("opening the chain: {error}"),
    }
}

/// With the development chain's authority a chain goes on; with others nobody here can sign.
fn makes_a_block(chain: &Chain<MemoryKv>, spec: &ChainSpec) {
    if spec.genesis.validators == chain::spec().genesis.validators {
        let proposal = chain::propose(chain, Vec::new()).expect("the first block");
        drop(chain.verify(&proposal.block).expect("our own block"));
    }
}

pub use crate::json::mutate;
