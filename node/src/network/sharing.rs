//! Who has which artifact: what this node tells others, asks them, and keeps for them.

use std::time::Instant;

use assay_manifest::Digest32;
use libp2p::PeerId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, ProviderRecord};
use tracing::debug;

use super::behaviour;
use super::claims::Forgotten;
use super::inbox::{NetworkError, Reply};
use super::lookups::Progress;
use super::service::{Network, answer};

impl Network {
    pub(super) fn provide(&mut self, id: Digest32) -> Result<(), NetworkError> {
        if !self.provided.add(id) {
            return Err(NetworkError::Busy);
        }
        let key = behaviour::provider_key(&id);
        let record = ProviderRecord::new(key, *self.swarm.local_peer_id(), Vec::new());
        // Whoever asks this node is told at once.
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().add_provider(record) {
            debug!(%id, ?error, "keeping what this node has");
        }
        self.tell_provided();
        Ok(())
    }

    /// Tells others of what this node has, as far as somebody is there and it is due. Half of the look-ups are left to
    /// those who look for something.
    pub(super) fn tell_provided(&mut self) {
        let room = (self.config.limits.lookups_max / 2).saturating_sub(self.look_ups.telling());
        let kad = &mut self.swarm.behaviour_mut().kad;
        let known = kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        for id in self.provided.take_due(known, room) {
            match kad.start_providing(behaviour::provider_key(&id)) {
                Ok(query) => self.look_ups.tell(query, id),
                Err(error) => {
                    debug!(%id, ?error, "telling others of an artifact");
                    self.provided.untold(&id);
                }
            }
        }
    }

    pub(super) fn providers(&mut self, id: &Digest32, reply: Reply<Vec<PeerId>>) {
        if self.look_ups.len() >= self.config.limits.lookups_max {
            return answer(reply, Err(NetworkError::Busy));
        }
        let query = self.swarm.behaviour_mut().kad.get_providers(behaviour::provider_key(id));
        self.look_ups.finding(query, reply);
    }

    pub(super) fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                let Progress { is_enough, untold } = self.look_ups.progressed(id, result, step.last);
                if let Some(artifact) = untold {
                    self.provided.untold(&artifact);
                }
                if is_enough && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                    query.finish();
                }
            }
            kad::Event::InboundRequest {
                request: kad::InboundRequest::AddProvider { record: Some(record) },
            } => {
                let peer = record.provider;
                let Some((record, forgotten)) = self.claims.admit(record, Instant::now()) else {
                    return debug!(%peer, "what a peer says that it has is not kept");
                };
                self.forget(forgotten);
                if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().add_provider(record) {
                    debug!(%peer, ?error, "keeping what a peer says that it has");
                }
            }
            _ => {}
        }
    }

    pub(super) fn forget(&mut self, forgotten: Forgotten) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        forgotten.iter().for_each(|(peer, key)| store.remove_provider(key, peer));
    }
}
