//! Landlock: no rule grants anything, so whatever the kernel knows to deny is denied.

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope};

use super::Landlock;

/// The newest version of the kernel's interface that this program asks for; an older kernel denies what it knows.
const NEWEST: ABI = ABI::V10;

/// Denies this thread, and all that it starts from now on, files, directories, connections, and signals to others.
pub fn restrict() -> Result<Landlock, RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    Ok(match ruleset.create()?.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Landlock::All,
        RulesetStatus::PartiallyEnforced => Landlock::Some,
        RulesetStatus::NotEnforced => Landlock::None,
    })
}
