//! Garbage collection of the state: nodes go when every state within the window has stopped using them.
//!
//! Finality is instant, so there are no forks: a list of dropped nodes a height, deleted a window later,
//! is enough. A node that comes back within the window is taken off the list again.

use std::collections::HashMap;

use codec::{Decode, Encode};

use super::error::ChainError;
use super::kv::{Batch, Kv};
use super::store::{Column, Store};

/// Nodes waiting for their deletion: the height that dropped each.
#[derive(Default)]
pub struct Garbage {
    dropped_at: HashMap<Vec<u8>, u32>,
    by_height: HashMap<u32, Vec<Vec<u8>>>,
}

impl Garbage {
    /// Reads the lists that a former run left.
    pub fn load<K: Kv>(store: &Store<K>) -> Result<Self, ChainError> {
        let mut garbage = Self::default();
        for (key, value) in store.scan(Column::Garbage, &[], usize::MAX)? {
            let corrupt = |_| ChainError::Corrupt("a garbage list cannot be read".into());
            let height = key.get(1..).and_then(|height| height.try_into().ok()).map(u32::from_be_bytes);
            let height = height.ok_or_else(|| ChainError::Corrupt("a garbage list has no height".into()))?;
            let nodes = Vec::<Vec<u8>>::decode(&mut value.as_slice()).map_err(corrupt)?;
            for node in &nodes {
                garbage.dropped_at.insert(node.clone(), height);
            }
            garbage.by_height.insert(height, nodes);
        }
        Ok(garbage)
    }

    /// Adds what `height` inserted and dropped, and deletes what is older than `oldest` (exclusive).
    pub fn advance(
        &mut self,
        height: u32,
        inserted: &[Vec<u8>],
        dropped: Vec<Vec<u8>>,
        oldest: u32,
    ) -> Batch {
        let mut batch = Batch::new();
        self.rescue(inserted, &mut batch);
        for node in &dropped {
            self.dropped_at.insert(node.clone(), height);
        }
        if !dropped.is_empty() {
            batch.push((list_key(height), Some(dropped.encode())));
            self.by_height.insert(height, dropped);
        }
        self.delete_before(oldest, &mut batch);
        batch
    }

    fn rescue(&mut self, inserted: &[Vec<u8>], batch: &mut Batch) {
        for node in inserted {
            let Some(height) = self.dropped_at.remove(node) else { continue };
            if let Some(list) = self.by_height.get_mut(&height) {
                list.retain(|other| other != node);
                batch.push((list_key(height), Some(list.encode())));
            }
        }
    }

    fn delete_before(&mut self, oldest: u32, batch: &mut Batch) {
        let mut due: Vec<u32> = self.by_height.keys().copied().filter(|height| *height <= oldest).collect();
        due.sort_unstable();
        for height in due {
            for node in self.by_height.remove(&height).unwrap_or_default() {
                self.dropped_at.remove(&node);
                batch.push((Column::Node.key(&node), None));
            }
            batch.push((list_key(height), None));
        }
    }
}

fn list_key(height: u32) -> Vec<u8> {
    Column::Garbage.key(&height.to_be_bytes())
}
