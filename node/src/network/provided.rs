//! What this node has and tells others of.

use std::collections::BTreeMap;

use assay_manifest::Digest32;

/// Artifacts that one node tells of.
pub const PROVIDED_MAX: usize = 65_536;
/// Peers from which on telling more of them adds nothing: as many as are asked who has it.
const ENOUGH_PEERS: usize = 20;

/// Artifacts, each with the number of peers that were known when others were told of it last; zero if they were not.
#[derive(Debug, Default)]
pub struct Provided {
    told_to: BTreeMap<Digest32, usize>,
}

impl Provided {
    /// Takes one up; false if there is no room.
    pub fn add(&mut self, id: Digest32) -> bool {
        let has_room = self.told_to.len() < PROVIDED_MAX || self.told_to.contains_key(&id);
        if has_room {
            self.told_to.entry(id).or_insert(0);
        }
        has_room
    }

    pub fn remove(&mut self, id: &Digest32) {
        self.told_to.remove(id);
    }

    /// Up to `limit` of which others are to be told now that so many peers are known: those of which nobody was told, and
    /// while peers are few, those that twice as many can be told of. The layer below tells again every few hours.
    pub fn take_due(&mut self, known: usize, limit: usize) -> Vec<Digest32> {
        let is_due = |told_to: usize| {
            known > 0 && (told_to == 0 || (told_to < ENOUGH_PEERS && known >= told_to.saturating_mul(2)))
        };
        let due = self.told_to.iter_mut().filter(|(_, told_to)| is_due(**told_to)).take(limit);
        due.map(|(id, told_to)| {
            *told_to = known;
            *id
        })
        .collect()
    }

    /// Telling of one failed.
    pub fn untold(&mut self, id: &Digest32) {
        if let Some(told_to) = self.told_to.get_mut(id) {
            *told_to = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Digest32 {
        Digest32::from_bytes([byte; 32])
    }

    #[test]
    fn what_was_there_before_anybody_is_told_when_somebody_comes_and_again_when_many_do() {
        let mut provided = Provided::default();
        assert!(provided.add(id(1)));
        assert_eq!(provided.take_due(0, 9), vec![]);
        assert_eq!(provided.take_due(1, 9), vec![id(1)]);
        assert_eq!(provided.take_due(1, 9), vec![]);
        assert_eq!(provided.take_due(3, 9), vec![id(1)]);
        assert_eq!(provided.take_due(5, 9), vec![]);
        assert_eq!(provided.take_due(30, 9), vec![id(1)]);
        assert_eq!(provided.take_due(300, 9), vec![]);
        provided.untold(&id(1));
        assert_eq!(provided.take_due(300, 9), vec![id(1)]);
        provided.remove(&id(1));
        provided.untold(&id(1));
        assert_eq!(provided.take_due(300, 9), vec![]);
    }

    #[test]
    fn many_are_told_in_portions_and_none_is_lost() {
        let mut provided = Provided::default();
        assert!((0..200).all(|byte| provided.add(id(byte))));
        let told: Vec<_> = (0..7).flat_map(|_| provided.take_due(1, 32)).collect();
        assert_eq!(told, (0..200).map(id).collect::<Vec<_>>());
    }
}
