//! The randomness beacon.

use assay_manifest::{Digest32, sha256};
use assay_protocol::header::{BEACON_ENGINE, VRF_ENGINE};
use codec::{Decode, DecodeAll, Encode};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_core::crypto::{VrfPublic, VrfSecret};
use sp_core::sr25519::vrf::{VrfInput, VrfSignature, VrfTranscript};
use sp_core::sr25519::{Pair, Public};
use sp_runtime::DigestItem;
use sp_runtime::traits::{SaturatedConversion, Zero};

use crate::pallet::RANDOMNESS_HISTORY_BLOCKS;
use crate::{Config, Pallet, Randomness, Validators};

const VRF_LABEL: &[u8] = b"assay/vrf/1";
const OUTPUT_CONTEXT: &[u8] = b"assay/vrf-output/1";

/// The pre-runtime digest item: which validator evaluated, output and proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VrfClaim {
    /// Position in the validator set.
    pub validator: u32,
    /// Output with its proof.
    pub signature: VrfSignature,
}

/// What the VRF of a height is evaluated over: nothing that a proposer chooses.
pub fn vrf_input(genesis: &Digest32, height: u32, previous: &Digest32) -> VrfInput {
    VrfTranscript::new(
        VRF_LABEL,
        &[
            (b"genesis", genesis.as_bytes()),
            (b"height", &height.to_le_bytes()),
            (b"previous", previous.as_bytes()),
        ],
    )
}

/// Position in the validator set of who evaluated the beacon of a block; none where that is malformed.
pub fn evaluator(digest: &sp_runtime::Digest) -> Option<u32> {
    claim(digest).ok().map(|claim| claim.validator)
}

fn claim(digest: &sp_runtime::Digest) -> Result<VrfClaim, &'static str> {
    let data = digest.logs().iter().find_map(|item| match item {
        DigestItem::PreRuntime(VRF_ENGINE, data) => Some(data),
        _ => None,
    });
    let data = data.ok_or("the block carries no VRF")?;
    VrfClaim::decode_all(&mut data.as_slice()).map_err(|_| "the block's VRF is malformed")
}

/// The digest item with which a proposer begins its block.
pub fn vrf_sign(key: &Pair, validator: u32, input: VrfInput) -> DigestItem {
    let signature = key.vrf_sign(&input.into());
    DigestItem::PreRuntime(VRF_ENGINE, VrfClaim { validator, signature }.encode())
}

impl<T: Config> Pallet<T> {
    /// R_h, for heights of the recent past and the present.
    pub fn randomness_at(height: u32) -> Option<Digest32> {
        Randomness::<T>::get(height)
    }

    pub(crate) fn advance_beacon(now: BlockNumberFor<T>) {
        let height: u32 = now.saturated_into();
        match Self::next_randomness(height) {
            Ok(randomness) => Self::set_randomness(height, randomness),
            Err(cause) => invalid_block(cause),
        }
    }

    fn next_randomness(height: u32) -> Result<Digest32, &'static str> {
        let before = height.checked_sub(1).ok_or("the genesis block is not executed")?;
        let previous = Randomness::<T>::get(before).ok_or("the previous randomness is missing")?;
        let claim = claim(&frame_system::Pallet::<T>::digest())?;
        let validators = Validators::<T>::get();
        let index = usize::try_from(claim.validator).map_err(|_| "the VRF's validator is unknown")?;
        let validator = validators.get(index).ok_or("the VRF's validator is unknown")?;
        let key = Public::from_raw(*validator.vrf_key.as_bytes());
        let input = vrf_input(&genesis::<T>(), height, &previous);
        if !key.vrf_verify(&input.clone().into(), &claim.signature) {
            return Err("the block's VRF does not verify");
        }
        let output: [u8; 32] = key
            .make_bytes(OUTPUT_CONTEXT, &input, &claim.signature.pre_output)
            .map_err(|_| "the block's VRF output is malformed")?;
        Ok(sha256(&[previous.as_bytes().as_slice(), &output].concat()))
    }

    fn set_randomness(height: u32, randomness: Digest32) {
        Randomness::<T>::insert(height, randomness);
        if let Some(old) = height.checked_sub(RANDOMNESS_HISTORY_BLOCKS) {
            Randomness::<T>::remove(old);
        }
        let item = DigestItem::Consensus(BEACON_ENGINE, randomness.encode());
        frame_system::Pallet::<T>::deposit_log(item);
    }
}

fn genesis<T: Config>() -> Digest32 {
    let hash = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero());
    Digest32::from_bytes(hash.0)
}

/// FRAME has no other way to say that a block must not be executed; the executor catches it.
#[allow(clippy::panic)]
pub(crate) fn invalid_block(cause: &str) -> ! {
    panic!("invalid block: {cause}")
}
