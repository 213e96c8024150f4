//! A few of many, each in its turn.

use assay_manifest::JobId;

/// Jobs of each kind that are looked up on the ledger at a block; the rest has its turn later.
const LOOKED_UP_MAX: usize = 64;

/// The next few of an ordered list, going round.
pub fn some_after(ids: impl Iterator<Item = JobId>, next: &mut Option<JobId>) -> Vec<JobId> {
    let all: Vec<_> = ids.collect();
    let start = next.map_or(0, |next| all.partition_point(|id| *id < next));
    let some: Vec<_> = all.iter().cycle().skip(start).take(LOOKED_UP_MAX.min(all.len())).copied().collect();
    *next = all.iter().cycle().nth(start.saturating_add(some.len())).copied();
    some
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_job_has_its_turn() {
        let ids: Vec<_> = (0..200u8).map(|byte| JobId::from_bytes([byte; 32])).collect();
        let (mut next, mut seen) = (None, BTreeSet::new());
        for _ in 0..4 {
            let some = some_after(ids.iter().copied(), &mut next);
            assert_eq!(some.len(), LOOKED_UP_MAX);
            seen.extend(some);
        }
        assert_eq!(seen.len(), 200);
        assert_eq!(some_after(std::iter::empty(), &mut next), vec![]);
        assert_eq!(some_after(ids.iter().copied().take(3), &mut None).len(), 3);
    }
}
