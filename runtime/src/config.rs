//! How each part is set up.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::traits::{
    ConstU8, ConstU16, ConstU32, ConstU64, ConstU128, Contains, InstanceFilter, VariantCountOf,
};
use frame_support::weights::{ConstantMultiplier, IdentityFee, RuntimeDbWeight};
use frame_support::{PalletId, derive_impl, parameter_types};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};
use scale_info::TypeInfo;
use sp_runtime::traits::{AccountIdConversion, BlakeTwo256, One};
use sp_version::RuntimeVersion;

use crate::ports::{ChainBeacon, ChainGenesis, ChainParams, ChainReferees, StakeBook};
use crate::weights::{DATABASE, Measured};
use crate::{
    AccountId, Balance, Balances, Block, BlockNumber, EXISTENTIAL_DEPOSIT, Hash, Lookup, Nonce, OriginCaller,
    PalletInfo, Runtime, RuntimeCall, RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason, RuntimeOrigin,
    RuntimeTask, SS58_PREFIX, System, Transparency, UNIT, VERSION, limits,
};

/// Blocks whose hashes stay readable on chain: what a mortal transaction may refer to.
const BLOCK_HASHES: BlockNumber = 4_096;
/// Fee of a byte of a transaction, in base units.
const FEE_PER_BYTE: Balance = 1_000;

parameter_types! {
    pub const Version: RuntimeVersion = VERSION;
    pub BlockWeights: frame_system::limits::BlockWeights = limits::block_weights();
    pub BlockLength: frame_system::limits::BlockLength = limits::block_length();
    pub const DbWeight: RuntimeDbWeight = DATABASE;
    pub FeeMultiplier: Multiplier = Multiplier::one();
    pub Pot: AccountId = PalletId(*b"asy/vpot").into_account_truncating();
}

/// Calls that would replace the runtime: an upgrade is a new binary, so they have no meaning here.
pub struct NoCodeUpgrades;

impl Contains<RuntimeCall> for NoCodeUpgrades {
    fn contains(call: &RuntimeCall) -> bool {
        use frame_system::Call;
        !matches!(
            call,
            RuntimeCall::System(
                Call::set_code { .. }
                    | Call::set_code_without_checks { .. }
                    | Call::authorize_upgrade { .. }
                    | Call::authorize_upgrade_without_checks { .. }
                    | Call::apply_authorized_upgrade { .. }
                    | Call::set_heap_pages { .. }
                    | Call::set_storage { .. }
                    | Call::kill_storage { .. }
                    | Call::kill_prefix { .. }
            )
        )
    }
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type BaseCallFilter = NoCodeUpgrades;
    type Block = Block;
    type Nonce = Nonce;
    type AccountId = AccountId;
    type Lookup = Lookup;
    type Hash = Hash;
    type Hashing = BlakeTwo256;
    type BlockWeights = BlockWeights;
    type BlockLength = BlockLength;
    type BlockHashCount = ConstU32<BLOCK_HASHES>;
    type Version = Version;
    type AccountData = pallet_balances::AccountData<Balance>;
    // For the pallets that are not ours: their weights count reads and writes apart from execution.
    type DbWeight = DbWeight;
    type SystemWeightInfo = frame_system::weights::SubstrateWeight<Runtime>;
    type ExtensionsWeightInfo = limits::InTransaction;
    type SS58Prefix = ConstU16<SS58_PREFIX>;
    type MaxConsumers = ConstU32<16>;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = pallet_timestamp::weights::SubstrateWeight<Runtime>;
}

impl pallet_balances::Config for Runtime {
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type ReserveIdentifier = [u8; 8];
    type Balance = Balance;
    type RuntimeEvent = RuntimeEvent;
    type DustRemoval = ();
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
    type AccountStore = System;
    type WeightInfo = pallet_balances::weights::SubstrateWeight<Runtime>;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type RuntimeHoldReason = RuntimeHoldReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type DoneSlashHandler = ();
}

/// Fees are burned: nobody gains by filling blocks.
impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = FungibleAdapter<Balances, ()>;
    type OperationalFeeMultiplier = ConstU8<1>;
    type WeightToFee = IdentityFee<Balance>;
    type LengthToFee = ConstantMultiplier<Balance, ConstU128<FEE_PER_BYTE>>;
    type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
    type WeightInfo = limits::InTransaction;
}

impl pallet_utility::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type PalletsOrigin = OriginCaller;
    type WeightInfo = pallet_utility::weights::SubstrateWeight<Runtime>;
}

impl pallet_multisig::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type DepositBase = ConstU128<UNIT>;
    type DepositFactor = ConstU128<UNIT>;
    type MaxSignatories = ConstU32<100>;
    type WeightInfo = pallet_multisig::weights::SubstrateWeight<Runtime>;
    type BlockNumberProvider = System;
}

/// What a proxy may do for its account.
#[derive(
    Copy,
    Clone,
    Eq,
    PartialEq,
    Ord,
    PartialOrd,
    Debug,
    Default,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum ProxyType {
    /// Everything.
    #[default]
    #[codec(index = 0)]
    Any,
    /// What neither moves nor holds tokens, nor decides who may have the account's stake taken.
    #[codec(index = 1)]
    NonTransfer,
    /// Offers and keys of a provider.
    #[codec(index = 2)]
    Provider,
}

impl InstanceFilter<RuntimeCall> for ProxyType {
    fn filter(&self, call: &RuntimeCall) -> bool {
        use pallet_assay_providers::Call;
        match self {
            Self::Any => true,
            // Named one by one: a call that is added later is not allowed by forgetting it. A work key of the proxy's
            // own could forfeit every later bond; deposits are tokens too.
            Self::NonTransfer => matches!(
                call,
                RuntimeCall::System(..)
                    | RuntimeCall::Utility(..)
                    | RuntimeCall::Providers(Call::set_offer { .. })
            ),
            Self::Provider => {
                matches!(call, RuntimeCall::Providers(Call::set_offer { .. } | Call::set_keys { .. }))
            }
        }
    }

    fn is_superset(&self, other: &Self) -> bool {
        self == &Self::Any || self == other
    }
}

impl pallet_proxy::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type Currency = Balances;
    type ProxyType = ProxyType;
    type ProxyDepositBase = ConstU128<UNIT>;
    type ProxyDepositFactor = ConstU128<UNIT>;
    type MaxProxies = ConstU32<32>;
    type WeightInfo = pallet_proxy::weights::SubstrateWeight<Runtime>;
    type MaxPending = ConstU32<32>;
    type CallHasher = BlakeTwo256;
    type AnnouncementDepositBase = ConstU128<UNIT>;
    type AnnouncementDepositFactor = ConstU128<UNIT>;
    type BlockNumberProvider = System;
}

impl pallet_assay_validators::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Params = ChainParams;
    type Genesis = ChainGenesis;
    type StakePerVote = ConstU128<UNIT>;
    type WeightInfo = Measured;
}

impl pallet_assay_transparency::Config for Runtime {}

impl pallet_assay_artifacts::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Log = Transparency;
    type DepositBase = ConstU128<UNIT>;
    type DepositPerByte = ConstU128<{ UNIT / 100 }>;
    type WeightInfo = Measured;
}

impl pallet_assay_providers::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Params = ChainParams;
    type Genesis = ChainGenesis;
    type WeightInfo = Measured;
}

impl pallet_assay_jobs::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Providers = StakeBook;
    type Beacon = ChainBeacon;
    type Referees = ChainReferees;
    type Log = Transparency;
    type Pot = Pot;
    type WeightInfo = Measured;
}
