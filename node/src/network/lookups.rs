//! Look-ups that are under way, and what others say that they have.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::{self, GetProvidersOk, QueryId, QueryResult, RecordKey};

use super::behaviour::PROVIDERS_MAX;
use super::inbox::{NetworkError, Reply};

/// Artifacts that one peer may say it has, in a day.
const KEYS_PER_PEER_MAX: usize = 4_096;
/// After which a peer's count begins anew: what it said has expired by then.
const COUNTED_FOR: Duration = Duration::from_secs(24 * 3_600);

enum LookUp {
    Provide(Reply<()>),
    Providers { found: HashSet<PeerId>, reply: Reply<Vec<PeerId>> },
}

/// Look-ups that are under way.
#[derive(Default)]
pub struct LookUps {
    by_query: HashMap<QueryId, LookUp>,
}

impl LookUps {
    pub fn len(&self) -> usize {
        self.by_query.len()
    }

    pub fn providing(&mut self, query: QueryId, reply: Reply<()>) {
        self.by_query.insert(query, LookUp::Provide(reply));
    }

    pub fn finding(&mut self, query: QueryId, reply: Reply<Vec<PeerId>>) {
        self.by_query.insert(query, LookUp::Providers { found: HashSet::new(), reply });
    }

    /// A look-up went on. Says whether it has found enough, so that it can be ended.
    pub fn progressed(&mut self, query: QueryId, result: QueryResult, is_last: bool) -> bool {
        let Some(look_up) = self.by_query.get_mut(&query) else { return false };
        let mut failure = None;
        let mut is_enough = false;
        match (look_up, result) {
            (LookUp::Providers { found, .. }, QueryResult::GetProviders(result)) => match result {
                Ok(GetProvidersOk::FoundProviders { providers, .. }) => {
                    let room = PROVIDERS_MAX.get().saturating_sub(found.len());
                    found.extend(providers.into_iter().take(room));
                    is_enough = found.len() >= PROVIDERS_MAX.get();
                }
                Ok(GetProvidersOk::FinishedWithNoAdditionalRecord { .. }) => {}
                Err(error) => failure = Some(error.to_string()),
            },
            (LookUp::Provide(_), QueryResult::StartProviding(result)) => {
                failure = result.err().map(|error| error.to_string());
            }
            _ => {}
        }
        if is_last || is_enough {
            self.end(query, failure);
        }
        is_enough
    }

    fn end(&mut self, query: QueryId, failure: Option<String>) {
        // Whoever asked may have gone away.
        match self.by_query.remove(&query) {
            Some(LookUp::Provide(reply)) => {
                drop(reply.send(failure.map_or(Ok(()), |cause| Err(NetworkError::LookUp(cause)))));
            }
            Some(LookUp::Providers { found, reply }) => {
                let answer = match failure {
                    Some(cause) if found.is_empty() => Err(NetworkError::LookUp(cause)),
                    _ => Ok(found.into_iter().collect()),
                };
                drop(reply.send(answer));
            }
            None => {}
        }
    }
}

/// How much each peer says that it has.
#[derive(Debug, Default)]
pub struct Claims {
    by_peer: HashMap<PeerId, (Instant, HashSet<RecordKey>)>,
}

impl Claims {
    /// Whether a peer may say this, too.
    pub fn admit(&mut self, record: &kad::ProviderRecord, now: Instant) -> bool {
        let (since, keys) = self.by_peer.entry(record.provider).or_insert_with(|| (now, HashSet::new()));
        if now.saturating_duration_since(*since) >= COUNTED_FOR {
            (*since, *keys) = (now, HashSet::new());
        }
        keys.contains(&record.key) || (keys.len() < KEYS_PER_PEER_MAX && keys.insert(record.key.clone()))
    }

    /// Forgets counts that have run out.
    pub fn expire(&mut self, now: Instant) {
        self.by_peer.retain(|_, (since, _)| now.saturating_duration_since(*since) < COUNTED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_says_so_much_a_day_and_may_say_the_same_again() {
        let (mut claims, peer, now) = (Claims::default(), PeerId::random(), Instant::now());
        let record = |number: usize, peer| {
            kad::ProviderRecord::new(RecordKey::new(&number.to_le_bytes()), peer, Vec::new())
        };
        for number in 0..KEYS_PER_PEER_MAX {
            assert!(claims.admit(&record(number, peer), now));
        }
        assert!(!claims.admit(&record(KEYS_PER_PEER_MAX, peer), now));
        assert!(claims.admit(&record(0, peer), now));
        assert!(claims.admit(&record(KEYS_PER_PEER_MAX, PeerId::random()), now));
        assert!(claims.admit(&record(KEYS_PER_PEER_MAX, peer), now + COUNTED_FOR));
        claims.expire(now + 2 * COUNTED_FOR);
        assert!(claims.by_peer.is_empty());
    }
}
