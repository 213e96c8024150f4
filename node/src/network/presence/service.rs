//! Announces this node's own, and listens to the others.

use std::collections::HashMap;

use assay_manifest::Digest32;
use assay_protocol::announcement::{Announcement, Announcer, SignedAnnouncement};
use assay_protocol::party::AccountBytes;
use assay_protocol::signature::{Signature, WorkKey};
use assay_protocol::units::Height;
use codec::Encode;
use ed25519_dalek::{Signer, SigningKey};
use sp_core::{Pair, sr25519};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use super::book::{News, Place, SharedBook};
use crate::network::PeerId;
use crate::network::fault::Fault;
use crate::network::inbox::{Asked, Gossip, Joined, Judgement, NetworkError, NetworkHandle, Ticket};
use crate::network::names::Topic;
use crate::network::ports::{LedgerFailure, Registry};
use crate::network::wire::{ANNOUNCEMENTS_MAX, BookRequest, BookResponse, decode_message};
use crate::supervisor::told_to_stop;

/// Blocks from one announcement to the next.
const EVERY_BLOCKS: u32 = 60;
/// Blocks between two when newcomers are the reason for the second.
const NEWCOMER_BLOCKS: u32 = 5;
/// Announcements that are being checked at the same time, and books that are being read.
const CHECKS_MAX: usize = 64;

/// One that this node announces, with the key that signs.
#[derive(Clone)]
pub enum Announcing {
    /// A provider, with its work key.
    Provider(AccountBytes, sr25519::Pair),
    /// A validator, with its consensus key.
    Validator(SigningKey),
}

impl Announcing {
    /// Who that is.
    pub fn announcer(&self) -> Announcer {
        match self {
            Self::Provider(account, _) => Announcer::Provider(*account),
            Self::Validator(key) => {
                Announcer::Validator(Digest32::from_bytes(key.verifying_key().to_bytes()))
            }
        }
    }

    /// By which others verify that.
    fn key(&self) -> WorkKey {
        match self {
            Self::Provider(_, key) => key.public().0,
            Self::Validator(key) => key.verifying_key().to_bytes(),
        }
    }

    fn sign(&self, digest: &Digest32) -> Signature {
        match self {
            Self::Provider(_, key) => Signature(key.sign(digest.as_bytes()).0),
            Self::Validator(key) => Signature(key.sign(digest.as_bytes()).to_bytes()),
        }
    }
}

/// What came of a check.
enum Checked {
    Gossiped(Ticket, Judgement),
    FromBook(PeerId, Judgement),
    Book(PeerId, Vec<SignedAnnouncement>),
    Nothing,
}

/// The service; [`Presence::run`] ends when it is told to.
pub struct Presence<R> {
    network: NetworkHandle,
    registry: R,
    own: Vec<Announcing>,
    book: SharedBook,
    gossip: mpsc::Receiver<Gossip>,
    questions: mpsc::Receiver<Asked<BookRequest, BookResponse>>,
    joined: broadcast::Receiver<Joined>,
    checks: JoinSet<Checked>,
    /// Heights of the last announcements that somebody took.
    announced: HashMap<Announcer, u32>,
    /// Height at which somebody came last.
    newcomer: Option<u32>,
}

/// Whether it is time for the next announcement.
fn is_due(announced: Option<u32>, newcomer: Option<u32>, height: u32) -> bool {
    let Some(at) = announced else { return true };
    let has_passed = |blocks: u32| height >= at.saturating_add(blocks);
    has_passed(EVERY_BLOCKS) || (newcomer.is_some_and(|came| came >= at) && has_passed(NEWCOMER_BLOCKS))
}

impl<R: Registry> Presence<R> {
    /// Announces `own`, and writes the book that this gives out, too.
    pub fn new(
        network: NetworkHandle,
        registry: R,
        own: Vec<Announcing>,
        gossip: mpsc::Receiver<Gossip>,
        questions: mpsc::Receiver<Asked<BookRequest, BookResponse>>,
    ) -> (Self, SharedBook) {
        let (book, joined) = (SharedBook::default(), network.joined());
        let presence = Self {
            network,
            registry,
            own,
            book: book.clone(),
            gossip,
            questions,
            joined,
            checks: JoinSet::new(),
            announced: HashMap::new(),
            newcomer: None,
        };
        (presence, book)
    }

    /// Works until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => told_to_stop(&mut stop).await,
            () = told_to_stop(&mut stop) => {}
        }
    }

    /// Ends when network or ledger have stopped, which ends the node by itself.
    async fn work(&mut self) {
        let mut heights = self.registry.heights();
        heights.mark_changed();
        loop {
            let has_room = self.checks.len() < CHECKS_MAX;
            let went_on = tokio::select! {
                changed = heights.changed() => {
                    let height = *heights.borrow_and_update();
                    self.book.write(|book| book.expire(height));
                    changed.is_ok() && self.announce_if_due(height).await
                }
                gossip = self.gossip.recv(), if has_room => match gossip {
                    Some(gossip) => {
                        self.check_gossip(gossip);
                        true
                    }
                    None => false,
                },
                question = self.questions.recv() => match question {
                    Some(question) => self.answer(question).await,
                    None => false,
                },
                joined = self.joined.recv() => self.on_joined(joined).await,
                Some(checked) = self.checks.join_next() => match checked {
                    Ok(checked) => self.on_checked(checked).await,
                    Err(error) => {
                        error!(%error, "checking an announcement");
                        true
                    }
                },
            };
            if !went_on {
                return;
            }
        }
    }

    async fn on_joined(&mut self, joined: Result<Joined, broadcast::error::RecvError>) -> bool {
        match joined {
            Ok(Joined::Topic(_, Topic::Announcements)) | Err(broadcast::error::RecvError::Lagged(_)) => {
                let height = *self.registry.heights().borrow();
                self.newcomer = Some(height);
                self.announce_if_due(height).await
            }
            Ok(Joined::Topic(..)) => true,
            Ok(Joined::Peer(peer)) => {
                if self.checks.len() < CHECKS_MAX {
                    let network = self.network.clone();
                    self.checks.spawn(async move {
                        match network.ask_book(peer).await {
                            Ok(announcements) => Checked::Book(peer, announcements),
                            Err(error) => {
                                debug!(%peer, %error, "asking who is where");
                                Checked::Nothing
                            }
                        }
                    });
                }
                true
            }
            Err(broadcast::error::RecvError::Closed) => false,
        }
    }

    async fn on_checked(&mut self, checked: Checked) -> bool {
        match checked {
            Checked::Gossiped(ticket, judgement) => {
                self.network.judge(Topic::Announcements, ticket, judgement).await.is_ok()
            }
            Checked::FromBook(peer, Judgement::Reject(fault)) => {
                self.network.report(peer, fault).await;
                true
            }
            Checked::Book(peer, announcements) => {
                // One after the other, so that a long list takes one place among the checks.
                let check = self.check();
                self.checks.spawn(async move {
                    for signed in announcements {
                        let judgement = check.judge(signed).await;
                        if matches!(judgement, Judgement::Reject(_)) {
                            return Checked::FromBook(peer, judgement);
                        }
                    }
                    Checked::Nothing
                });
                true
            }
            Checked::FromBook(..) | Checked::Nothing => true,
        }
    }

    fn check_gossip(&mut self, gossip: Gossip) {
        let check = self.check();
        self.checks.spawn(async move {
            let Gossip { bytes, ticket, room: _room, .. } = gossip;
            let judgement = match decode_message(&bytes) {
                Ok(signed) => check.judge(signed).await,
                Err(fault) => Judgement::Reject(fault),
            };
            Checked::Gossiped(ticket, judgement)
        });
    }

    fn check(&self) -> Check<R> {
        let own = self.own.iter().map(Announcing::announcer).collect();
        Check { registry: self.registry.clone(), book: self.book.clone(), own }
    }

    async fn answer(&self, question: Asked<BookRequest, BookResponse>) -> bool {
        let newest = self.book.read(|book| book.newest(ANNOUNCEMENTS_MAX));
        self.network.answer_book(question.answer, BookResponse(newest)).await.is_ok()
    }

    async fn announce_if_due(&mut self, height: u32) -> bool {
        for own in self.own.clone() {
            let announcer = own.announcer();
            if !is_due(self.announced.get(&announcer).copied(), self.newcomer, height) {
                continue;
            }
            match self.announce(&own, height).await {
                Ok(()) | Err(NetworkError::Repeated) => {
                    self.announced.insert(announcer, height);
                }
                Err(NetworkError::Stopped) => return false,
                // It is due again with the next block.
                Err(error) => debug!(%error, "announcing"),
            }
        }
        true
    }

    async fn announce(&self, own: &Announcing, height: u32) -> Result<(), NetworkError> {
        let announcer = own.announcer();
        let unread = |error: LedgerFailure| NetworkError::Unpublished(error.to_string());
        // Otherwise nobody would listen.
        match self.registry.signing_key(announcer).await.map_err(unread)? {
            None => return Err(NetworkError::Unpublished("it is not on the ledger yet".into())),
            Some(key) if key != own.key() => {
                return Err(NetworkError::Unpublished("the ledger has another key of it".into()));
            }
            Some(_) => {}
        }
        let capacity = self.registry.capacity(announcer).await.map_err(unread)?;
        let addresses: Vec<_> = self.network.listening().await?.iter().filter_map(bounded).collect();
        let unsendable = |_| NetworkError::Unpublished("its name is too long".into());
        let announcement = Announcement {
            genesis: self.registry.genesis(),
            announcer,
            peer: self.network.local_peer().to_bytes().try_into().map_err(unsendable)?,
            addresses: addresses.try_into().unwrap_or_default(),
            capacity,
            height: Height::new(height),
        };
        let signature = own.sign(&announcement.digest());
        let signed = SignedAnnouncement { announcement, signature };
        if let Some(place) = Place::of(&signed.announcement) {
            // So that newcomers who ask hear of it, too.
            self.book.write(|book| book.insert(signed.clone(), place));
        }
        self.network.publish(Topic::Announcements, signed.encode()).await
    }
}

fn bounded<B: TryFrom<Vec<u8>>>(address: &crate::network::Multiaddr) -> Option<B> {
    address.to_vec().try_into().ok()
}

/// What an announcement is checked with.
struct Check<R> {
    registry: R,
    book: SharedBook,
    own: Vec<Announcer>,
}

impl<R: Registry> Check<R> {
    /// Cheap tests first: chain, time, then the ledger, then the signature.
    async fn judge(&self, signed: SignedAnnouncement) -> Judgement {
        let announcement = &signed.announcement;
        let genesis = self.registry.genesis();
        if announcement.genesis != genesis {
            return Judgement::Reject(Fault::BadAnnouncement);
        }
        let Some(place) = Place::of(announcement) else {
            return Judgement::Reject(Fault::BadAnnouncement);
        };
        let height = *self.registry.heights().borrow();
        if self.own.contains(&announcement.announcer)
            || self.book.read(|book| book.weigh(announcement, height)) != News::Fresh
        {
            return Judgement::Ignore;
        }
        match self.registry.signing_key(announcement.announcer).await {
            // This node may be some blocks behind.
            Ok(None) => Judgement::Ignore,
            Ok(Some(key)) if signed.check(&genesis, &key).is_ok() => {
                self.book.write(|book| book.insert(signed, place));
                Judgement::Accept
            }
            // Forged; or signed before its key changed, or after, and one of the two nodes is behind. It leads nobody
            // astray, and whoever passed it on may be honest.
            Ok(Some(_)) => Judgement::Ignore,
            Err(error) => {
                warn!(%error, "checking an announcement");
                Judgement::Ignore
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_due_at_first_then_now_and_then_and_soon_after_somebody_came() {
        for (announced, newcomer, height, expected) in [
            (None, None, 0, true),
            (Some(10), None, 10 + EVERY_BLOCKS - 1, false),
            (Some(10), None, 10 + EVERY_BLOCKS, true),
            // In the same block as the announcement: it may have come too late to hear it.
            (Some(10), Some(10), 10, false),
            (Some(10), Some(10), 10 + NEWCOMER_BLOCKS, true),
            (Some(10), Some(9), 10 + NEWCOMER_BLOCKS, false),
        ] {
            assert_eq!(is_due(announced, newcomer, height), expected, "{announced:?} {newcomer:?} {height}");
        }
    }
}
