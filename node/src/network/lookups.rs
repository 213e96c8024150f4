//! Look-ups that are under way.

use std::collections::{HashMap, HashSet};

use assay_manifest::Digest32;
use libp2p::PeerId;
use libp2p::kad::{GetProvidersOk, QueryId, QueryResult};

use super::behaviour::PROVIDERS_PER_KEY_MAX;
use super::inbox::{NetworkError, Reply};

enum LookUp {
    /// Others are told that this node has an artifact.
    Tell(Digest32),
    Providers {
        found: HashSet<PeerId>,
        reply: Reply<Vec<PeerId>>,
    },
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

    /// How many of them tell others of an artifact.
    pub fn telling(&self) -> usize {
        self.by_query.values().filter(|look_up| matches!(look_up, LookUp::Tell(_))).count()
    }

    pub fn tell(&mut self, query: QueryId, id: Digest32) {
        self.by_query.insert(query, LookUp::Tell(id));
    }

    pub fn finding(&mut self, query: QueryId, reply: Reply<Vec<PeerId>>) {
        self.by_query.insert(query, LookUp::Providers { found: HashSet::new(), reply });
    }

    /// A look-up went on.
    pub fn progressed(&mut self, query: QueryId, result: QueryResult, is_last: bool) -> Progress {
        let Some(look_up) = self.by_query.get_mut(&query) else { return Progress::default() };
        let mut failure = None;
        let mut is_enough = false;
        match (look_up, result) {
            (LookUp::Providers { found, .. }, QueryResult::GetProviders(result)) => match result {
                Ok(GetProvidersOk::FoundProviders { providers, .. }) => {
                    let room = PROVIDERS_PER_KEY_MAX.saturating_sub(found.len());
                    found.extend(providers.into_iter().take(room));
                    is_enough = found.len() >= PROVIDERS_PER_KEY_MAX;
                }
                Ok(GetProvidersOk::FinishedWithNoAdditionalRecord { .. }) => {}
                Err(error) => failure = Some(error.to_string()),
            },
            (LookUp::Tell(_), QueryResult::StartProviding(result)) => {
                failure = result.err().map(|error| error.to_string());
            }
            _ => {}
        }
        let untold = if is_last || is_enough { self.end(query, failure) } else { None };
        Progress { is_enough, untold }
    }

    /// Ends one; returns what nobody could be told of.
    fn end(&mut self, query: QueryId, failure: Option<String>) -> Option<Digest32> {
        match self.by_query.remove(&query)? {
            LookUp::Tell(id) => failure.map(|_| id),
            LookUp::Providers { found, reply } => {
                let answer = match failure {
                    Some(cause) if found.is_empty() => Err(NetworkError::LookUp(cause)),
                    _ => Ok(found.into_iter().collect()),
                };
                // Whoever asked may have gone away.
                drop(reply.send(answer));
                None
            }
        }
    }
}

/// How far a look-up came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// It has found enough, and can be ended.
    pub is_enough: bool,
    /// It has ended, and nobody was told of this artifact.
    pub untold: Option<Digest32>,
}
