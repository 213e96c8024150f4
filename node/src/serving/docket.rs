//! Which models of contested jobs are kept, when there are more than this node can hold.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::ModelId;

/// Models of contested jobs that are loaded at once, also of jobs that have been decided.
const LOADED_MAX: usize = 4;
/// Models of contested jobs that are fetched at once: whoever offers one that nobody has, or that comes slowly, keeps no
/// other from being judged.
const FETCHED_MAX: usize = 8;
/// Blocks for which a model is kept after the last job with it was contested.
const KEPT_BLOCKS: u32 = 3_600;
/// How often the time to the next try is doubled at most.
const DOUBLINGS_MAX: u32 = 5;

/// What was tried, and what was judged.
#[derive(Debug, Default)]
pub struct Docket {
    failures: BTreeMap<ModelId, Failure>,
    /// What was chosen last, with the height until which it is kept, the oldest first.
    recent: Vec<(ModelId, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    tries: u32,
    /// Height before which it is not tried again.
    not_before: u32,
}

impl Docket {
    /// The models to keep, of those that are contested now, the most urgent first. What failed comes after what did not
    /// and counts only where there is room, what is being fetched takes no memory. What was kept before stays while there
    /// is room: one job is often contested twice.
    pub fn choose(
        &mut self,
        contested: &[ModelId],
        fetching: &BTreeSet<ModelId>,
        height: u32,
    ) -> Vec<ModelId> {
        let mut chosen = Vec::new();
        let (mut loaded, mut fetched) = (0, 0);
        let (failed, fresh): (Vec<&ModelId>, Vec<_>) =
            contested.iter().partition(|model| self.failures.contains_key(model));
        let due = failed.into_iter().filter(|model| !self.is_early(model, height));
        for model in fresh.into_iter().chain(due) {
            let (count, most) = match fetching.contains(model) {
                true => (&mut fetched, FETCHED_MAX),
                false => (&mut loaded, LOADED_MAX),
            };
            if *count < most {
                *count += 1;
                chosen.push(*model);
            }
        }
        let room = LOADED_MAX.saturating_sub(loaded);
        let is_kept = |(model, until): &&(ModelId, u32)| *until >= height && !contested.contains(model);
        let before: Vec<_> = self.recent.iter().rev().filter(is_kept).take(room).copied().collect();
        let until = height.saturating_add(KEPT_BLOCKS);
        let now = chosen.iter().map(|model| (*model, until));
        self.recent = before.iter().rev().copied().chain(now).collect();
        chosen.extend(before.into_iter().map(|(model, _)| model));
        chosen
    }

    /// Notes that a model could not be had or loaded. The first time it is tried again after so many blocks, then after
    /// twice as many, and so on.
    pub fn failed(&mut self, model: ModelId, height: u32, retry_blocks: u32) {
        let tries = self.failures.get(&model).map_or(0, |failure| failure.tries);
        let blocks = retry_blocks.saturating_mul(1 << tries.min(DOUBLINGS_MAX));
        let failure = Failure { tries: tries.saturating_add(1), not_before: height.saturating_add(blocks) };
        self.failures.insert(model, failure);
        self.recent.retain(|(other, _)| *other != model);
    }

    /// Notes that a model is ready.
    pub fn succeeded(&mut self, model: &ModelId) {
        self.failures.remove(model);
    }

    /// Forgets the failures of what nobody wants any more.
    pub fn forget(&mut self, is_over: impl Fn(&ModelId) -> bool) {
        self.failures.retain(|model, _| !is_over(model));
    }

    fn is_early(&self, model: &ModelId, height: u32) -> bool {
        self.failures.get(model).is_some_and(|failure| height < failure.not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(count: u8) -> Vec<ModelId> {
        (1..=count).map(|n| ModelId::from_bytes([n; 32])).collect()
    }

    #[test]
    fn the_most_urgent_are_kept_and_the_others_follow_as_these_are_decided() {
        let (mut docket, models) = (Docket::default(), models(6));
        let none = BTreeSet::new();
        assert_eq!(docket.choose(&models, &none, 1), models[..4]);
        assert_eq!(docket.choose(&models[1..], &none, 2), models[1..5]);
        let last = docket.choose(&models[5..], &none, 3);
        assert_eq!(last[0], models[5]);
        assert_eq!(last.len(), LOADED_MAX, "those before stay while there is room");
        assert!(!last.contains(&models[0]));
        assert!(docket.choose(&[], &none, 3 + KEPT_BLOCKS).contains(&models[5]));
        assert!(docket.choose(&[], &none, 4 + KEPT_BLOCKS).is_empty());
    }

    #[test]
    fn what_cannot_be_had_keeps_no_other_from_being_judged() {
        let (mut docket, models) = (Docket::default(), models(5));
        let fetching: BTreeSet<_> = models[..4].iter().copied().collect();
        assert_eq!(docket.choose(&models, &fetching, 1), models, "what is fetched takes no room");
        for model in &models[..4] {
            docket.failed(*model, 1, 25);
        }
        let none = BTreeSet::new();
        assert_eq!(docket.choose(&models, &none, 2), models[4..]);
        let again = docket.choose(&models, &none, 26);
        assert_eq!(again, [models[4], models[0], models[1], models[2]], "what failed comes last");
    }

    #[test]
    fn what_fails_again_and_again_is_tried_less_and_less_often() {
        let (mut docket, models) = (Docket::default(), models(1));
        let none = BTreeSet::new();
        docket.failed(models[0], 0, 25);
        docket.failed(models[0], 25, 25);
        assert!(docket.choose(&models, &none, 74).is_empty());
        assert_eq!(docket.choose(&models, &none, 75), models);
        for _ in 0..40 {
            docket.failed(models[0], 100, 25);
        }
        assert_eq!(docket.choose(&models, &none, 100 + 25 * 32), models);
        docket.succeeded(&models[0]);
        assert_eq!(docket.choose(&models, &none, 100), models);
    }
}
