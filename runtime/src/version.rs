//! The version of the rules.

use std::borrow::Cow;

use sp_version::RuntimeVersion;

use crate::composition::RUNTIME_API_VERSIONS;

/// Rules of this binary. `system_version` 1 means state version 1, with which the executor commits.
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: Cow::Borrowed("assay"),
    impl_name: Cow::Borrowed("assay-native"),
    authoring_version: 1,
    spec_version: 1,
    impl_version: 1,
    apis: RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

/// Value of the `:code` key: clients key their metadata cache on its hash, so it changes with the version.
pub fn code_stub() -> Vec<u8> {
    format!("native:assay:{}:{}", VERSION.spec_version, VERSION.transaction_version).into_bytes()
}
