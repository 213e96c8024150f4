//! Transactions: what they carry besides their call, and how they are made.

use frame_system as system;
use pallet_transaction_payment::ChargeTransactionPayment;
use sp_runtime::generic::{self, Era};

use crate::{Address, Balance, Hash, Nonce, Runtime, RuntimeCall, Signature, VERSION};

/// The checks around every transaction. `AuthorizeCall` comes first: it admits the feeless job steps.
pub type TxExtension = (
    system::AuthorizeCall<Runtime>,
    system::CheckNonZeroSender<Runtime>,
    system::CheckSpecVersion<Runtime>,
    system::CheckTxVersion<Runtime>,
    system::CheckGenesis<Runtime>,
    system::CheckEra<Runtime>,
    system::CheckNonce<Runtime>,
    system::CheckWeight<Runtime>,
    ChargeTransactionPayment<Runtime>,
    system::WeightReclaim<Runtime>,
);

/// A transaction as it travels.
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What the signer of a transaction signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;

/// The extensions of a signed transaction at `nonce` with `tip`, valid for ever.
pub fn signed_extension(nonce: Nonce, tip: Balance) -> TxExtension {
    (
        system::AuthorizeCall::new(),
        system::CheckNonZeroSender::new(),
        system::CheckSpecVersion::new(),
        system::CheckTxVersion::new(),
        system::CheckGenesis::new(),
        system::CheckEra::from(Era::Immortal),
        system::CheckNonce::from(nonce),
        system::CheckWeight::new(),
        ChargeTransactionPayment::from(tip),
        system::WeightReclaim::new(),
    )
}

/// What the signature covers besides the call and its extensions.
type Implicit = ((), (), u32, u32, Hash, Hash, (), (), (), ());

/// The implicit part of a signed transaction that is valid for ever.
pub const fn signed_implicit(genesis: Hash) -> Implicit {
    ((), (), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ())
}

/// A transaction without a signer; only authorised calls are admitted by it.
pub fn general(call: RuntimeCall) -> UncheckedExtrinsic {
    UncheckedExtrinsic::new_transaction(call, signed_extension(0, 0))
}
