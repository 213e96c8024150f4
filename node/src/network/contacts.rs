//! Where others were reached, and when to try again. No clock: every call is told the time.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::backoff::Backoff;

/// Addresses that are kept over a restart.
pub const CONTACTS_MAX: usize = 256;
/// Bytes of one address: the longest of ours, through a relay, has about 150.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Seconds from one attempt to the next.
const RETRY_S: Backoff = Backoff { first: 1, last: 60 };
/// Attempts after which an address that nobody gave is forgotten.
const ATTEMPTS_MAX: u32 = 8;

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// From the operator: it is tried for ever.
    Given,
    /// From an earlier connection.
    Met,
}

#[derive(Clone, Debug)]
struct Contact {
    source: Source,
    /// Who is there, once that is known.
    peer: Option<PeerId>,
    attempts: u32,
    next: Instant,
    /// Place in the order of last success; zero if there was none.
    reached: u64,
}

/// Addresses at which others may be.
#[derive(Debug)]
pub struct Contacts {
    local: PeerId,
    by_address: BTreeMap<Multiaddr, Contact>,
    successes: u64,
    changed: bool,
}

impl Contacts {
    /// Those that the operator gave, and those that were kept.
    pub fn new(local: PeerId, given: &[Multiaddr], kept: &[Multiaddr], now: Instant) -> Self {
        let mut contacts = Self { local, by_address: BTreeMap::new(), successes: 0, changed: false };
        for (address, source) in given
            .iter()
            .map(|address| (address, Source::Given))
            .chain(kept.iter().take(CONTACTS_MAX).map(|address| (address, Source::Met)))
        {
            let peer = peer_of(address);
            if peer != Some(local) && address.len() <= ADDRESS_BYTES_MAX {
                let contact = Contact { source, peer, attempts: 0, next: now, reached: 0 };
                contacts.by_address.entry(address.clone()).or_insert(contact);
            }
        }
        contacts
    }

    /// Somebody may be at an address that ends with its peer, as it says itself. It is kept while there is room, until
    /// it was tried for a while, if it reaches as far as `near`: an address of a machine or a private network leads who
    /// is not on it to somebody else's.
    pub fn suggest(&mut self, address: Multiaddr, near: Reach, now: Instant) {
        let Some(peer) = peer_of(&address).filter(|peer| *peer != self.local) else { return };
        let is_far = ip_of(&address).is_none_or(|ip| !is_nobodys(ip) && reach(ip) >= near);
        if is_far && address.len() <= ADDRESS_BYTES_MAX && self.met() < CONTACTS_MAX {
            let contact =
                Contact { source: Source::Met, peer: Some(peer), attempts: 0, next: now, reached: 0 };
            self.by_address.entry(address).or_insert(contact);
        }
    }

    /// Addresses to dial now, of peers that are not connected; each is not due again for a while. Those that the operator
    /// gave are always among them, however many others are connected; of the rest there are up to `wanted`.
    pub fn due(&mut self, connected: &HashSet<PeerId>, wanted: usize, now: Instant) -> Vec<Multiaddr> {
        let absent = |contact: &Contact| contact.peer.is_none_or(|peer| !connected.contains(&peer));
        let mut due: Vec<_> = self
            .by_address
            .iter_mut()
            .filter(|(_, contact)| contact.next <= now && absent(contact))
            .collect();
        let is_met = |contact: &Contact| contact.source == Source::Met;
        due.sort_by_key(|(_, contact)| (is_met(contact), contact.attempts, u64::MAX - contact.reached));
        let given = due.iter().filter(|(_, contact)| !is_met(contact)).count();
        let mut addresses = Vec::new();
        for (address, contact) in due.into_iter().take(wanted.max(given)) {
            contact.next = now + Duration::from_secs(RETRY_S.after(contact.attempts).into());
            contact.attempts = contact.attempts.saturating_add(1);
            addresses.push(address.clone());
        }
        self.by_address
            .retain(|_, contact| contact.source == Source::Given || contact.attempts <= ATTEMPTS_MAX);
        addresses
    }

    /// A peer was reached at an address.
    pub fn reached(&mut self, peer: PeerId, address: &Multiaddr, now: Instant) {
        if peer == self.local || address.len() > ADDRESS_BYTES_MAX {
            return;
        }
        self.successes = self.successes.saturating_add(1);
        let (bare, whole) = (without_peer(address), with_peer(address, peer));
        let mut is_known = false;
        for (known, contact) in &mut self.by_address {
            if without_peer(known) == bare {
                is_known |= *known == whole;
                contact.peer = Some(peer);
                (contact.attempts, contact.next, contact.reached) = (0, now, self.successes);
            }
        }
        if !is_known {
            let reached = self.successes;
            let contact = Contact { source: Source::Met, peer: Some(peer), attempts: 0, next: now, reached };
            self.by_address.insert(whole, contact);
            self.make_room();
        }
        self.changed = true;
    }

    /// Forgets a peer that is refused, unless the operator gave its address.
    pub fn forget(&mut self, peer: &PeerId) {
        let before = self.by_address.len();
        self.by_address.retain(|_, contact| contact.source == Source::Given || contact.peer != Some(*peer));
        self.changed |= self.by_address.len() != before;
    }

    /// What is to be kept, if it has changed since this was last asked.
    pub fn take_changed(&mut self) -> Option<Vec<Multiaddr>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut reached: Vec<_> = self.by_address.iter().filter(|(_, contact)| contact.reached > 0).collect();
        reached.sort_by_key(|(_, contact)| u64::MAX - contact.reached);
        let whole = |(address, contact): (&Multiaddr, &Contact)| match contact.peer {
            Some(peer) => with_peer(address, peer),
            None => address.clone(),
        };
        let mut kept: Vec<_> = reached.into_iter().map(whole).collect();
        let mut seen = HashSet::new();
        kept.retain(|address| seen.insert(address.clone()));
        kept.truncate(CONTACTS_MAX);
        Some(kept)
    }

    fn met(&self) -> usize {
        self.by_address.values().filter(|contact| contact.source == Source::Met).count()
    }

    fn make_room(&mut self) {
        if self.met() <= CONTACTS_MAX {
            return;
        }
        let oldest = self.by_address.iter().filter(|(_, contact)| contact.source == Source::Met);
        let oldest = oldest.min_by_key(|(_, contact)| contact.reached).map(|(address, _)| address.clone());
        if let Some(address) = oldest {
            self.by_address.remove(&address);
        }
    }
}

/// The peer that an address ends with.
pub fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Whether an address says who is there.
pub fn names_peer(address: &Multiaddr) -> bool {
    peer_of(address).is_some()
}

/// The address with the peer behind it.
pub fn with_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    if peer_of(address).is_some() { address.clone() } else { address.clone().with(Protocol::P2p(peer)) }
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut bare = address.clone();
    if peer_of(address).is_some() {
        bare.pop();
    }
    bare
}

/// Whether an address that a peer names as its own may be one under which it is reached from here. Addresses of this
/// machine or of a private network help only those who are on it, which the address `seen` of its connection tells.
pub fn is_plausible(address: &Multiaddr, seen: &Multiaddr) -> bool {
    if address.len() > ADDRESS_BYTES_MAX {
        return false;
    }
    match (ip_of(address), ip_of(seen)) {
        (Some(named), _) if is_nobodys(named) => false,
        (Some(named), Some(seen)) => reach(named) >= reach(seen),
        // A name, or a connection through a relay: dialling will tell.
        (Some(named), None) => reach(named) == Reach::World,
        (None, _) => true,
    }
}

/// Whether an address leads through a relay.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

const fn is_nobodys(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast()
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    Machine,
    Site,
    World,
}

/// How far a node reaches that listens at these addresses: whoever listens nowhere, or everywhere, means the world.
pub fn reach_of(listen: &[Multiaddr]) -> Reach {
    let far = |ip: IpAddr| if ip.is_unspecified() { Reach::World } else { reach(ip) };
    listen.iter().map(|address| ip_of(address).map_or(Reach::World, far)).max().unwrap_or(Reach::World)
}

fn reach(ip: IpAddr) -> Reach {
    let is_site = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match (ip.is_loopback(), is_site) {
        (true, _) => Reach::Machine,
        (false, true) => Reach::Site,
        (false, false) => Reach::World,
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn port(port: u16) -> Multiaddr {
        address(&format!("/ip4/10.0.0.1/udp/{port}/quic-v1"))
    }

    fn of_peer(text: &str) -> Multiaddr {
        with_peer(&address(text), PeerId::random())
    }

    #[test]
    fn what_is_suggested_is_tried_while_peers_are_lacking_and_forgotten_when_nobody_answers() {
        let (local, mut now) = (PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[], &[], now);
        let there = of_peer("/ip4/192.0.2.1/udp/1/quic-v1");
        contacts.suggest(there.clone(), Reach::World, now);
        contacts.suggest(with_peer(&port(1), local), Reach::Machine, now);
        contacts.suggest(address("/ip4/192.0.2.2/udp/1/quic-v1"), Reach::World, now);
        assert_eq!(contacts.due(&HashSet::new(), 0, now), [] as [Multiaddr; 0]);
        let mut attempts = 0;
        for _ in 0..100 {
            let due = contacts.due(&HashSet::new(), 9, now);
            assert!(due.iter().all(|address| *address == there), "neither itself nor who names nobody");
            attempts += due.len();
            now += Duration::from_secs(60);
        }
        assert_eq!(attempts, ATTEMPTS_MAX as usize + 1);
        assert_eq!(contacts.take_changed(), None, "it was never met");
        contacts.suggest(there.clone(), Reach::World, now);
        assert_eq!(contacts.due(&HashSet::new(), 9, now), [there], "until it is suggested anew");
    }

    #[test]
    fn what_is_suggested_leads_no_further_in_than_where_the_node_itself_is() {
        let (local, now) = (PeerId::random(), Instant::now());
        let of = ["127.0.0.1", "192.168.1.1", "8.8.8.8", "0.0.0.0", "224.0.0.1"];
        let suggested = of.map(|ip| of_peer(&format!("/ip4/{ip}/udp/1/quic-v1")));
        let taken = |listen: &str| {
            let mut contacts = Contacts::new(local, &[], &[], now);
            let near = reach_of(&[address(listen)]);
            suggested.iter().for_each(|address| contacts.suggest(address.clone(), near, now));
            contacts.by_address.len()
        };
        assert_eq!(taken("/ip4/127.0.0.1/udp/0/quic-v1"), 3);
        assert_eq!(taken("/ip4/192.168.1.7/udp/0/quic-v1"), 2);
        assert_eq!(taken("/ip4/0.0.0.0/udp/0/quic-v1"), 1);
        assert_eq!(reach_of(&[]), Reach::World);
    }

    #[test]
    fn of_many_suggestions_only_as_many_are_taken_as_are_kept_anyway() {
        let now = Instant::now();
        let mut contacts = Contacts::new(PeerId::random(), &[port(1)], &[], now);
        for n in 0..2 * CONTACTS_MAX {
            contacts.suggest(of_peer(&format!("/ip4/8.8.8.8/udp/{}/quic-v1", n + 1)), Reach::World, now);
        }
        assert_eq!(contacts.by_address.len(), CONTACTS_MAX + 1);
    }

    #[test]
    fn a_given_address_is_tried_for_ever_and_less_and_less_often() {
        let (local, mut now) = (PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[port(1)], &[], now);
        let mut waits = Vec::new();
        for _ in 0..20 {
            let start = now;
            while contacts.due(&HashSet::new(), 9, now).is_empty() {
                now += Duration::from_secs(1);
            }
            waits.push((now - start).as_secs());
        }
        assert_eq!(waits[..8], [0, 1, 2, 4, 8, 16, 32, 60]);
        assert_eq!(waits[19], 60);
    }

    #[test]
    fn a_given_address_is_dialled_however_many_others_are_connected() {
        let (local, now) = (PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[port(1), port(2)], &[port(3), port(4)], now);
        let strangers: HashSet<_> = (0..100).map(|_| PeerId::random()).collect();
        assert_eq!(contacts.due(&strangers, 0, now), vec![port(1), port(2)]);
        let mut contacts = Contacts::new(local, &[port(1), port(2)], &[port(3), port(4)], now);
        assert_eq!(contacts.due(&strangers, 3, now), vec![port(1), port(2), port(3)]);
    }

    #[test]
    fn whoever_is_connected_is_not_dialled_and_is_again_when_it_has_left() {
        let (local, peer, now) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[port(1)], &[], now);
        assert_eq!(contacts.due(&HashSet::new(), 9, now), vec![port(1)]);
        contacts.reached(peer, &port(1), now);
        assert!(contacts.due(&HashSet::from([peer]), 9, now).is_empty());
        let again = contacts.due(&HashSet::new(), 9, now);
        assert!(again.contains(&port(1)) && again.contains(&with_peer(&port(1), peer)));
    }

    #[test]
    fn what_was_reached_is_kept_with_its_peer_and_the_rest_is_not() {
        let (local, peer, now) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[port(1), port(2)], &[], now);
        assert_eq!(contacts.take_changed(), None);
        contacts.reached(peer, &port(1), now);
        assert_eq!(contacts.take_changed(), Some(vec![with_peer(&port(1), peer)]));
        assert_eq!(contacts.take_changed(), None);
        contacts.forget(&peer);
        let mut again = Contacts::new(local, &[], &[with_peer(&port(1), peer)], now);
        assert_eq!(again.due(&HashSet::new(), 9, now), vec![with_peer(&port(1), peer)]);
    }

    #[test]
    fn what_is_kept_has_a_bound_and_what_never_answers_is_forgotten() {
        let (local, mut now) = (PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[], &[], now);
        for number in 0..1_000 {
            contacts.reached(PeerId::random(), &port(number), now);
        }
        assert_eq!(contacts.by_address.len(), CONTACTS_MAX);
        assert_eq!(contacts.take_changed().unwrap().len(), CONTACTS_MAX);
        for _ in 0..=ATTEMPTS_MAX {
            contacts.due(&HashSet::new(), usize::MAX, now);
            now += Duration::from_secs(RETRY_S.last.into());
        }
        assert!(contacts.by_address.is_empty());
    }

    #[test]
    fn this_node_is_not_dialled() {
        let (local, now) = (PeerId::random(), Instant::now());
        let mut contacts = Contacts::new(local, &[with_peer(&port(1), local)], &[], now);
        contacts.reached(local, &port(2), now);
        assert!(contacts.due(&HashSet::new(), 9, now).is_empty());
    }

    #[test]
    fn an_address_counts_for_those_who_can_be_on_its_network() {
        for (named, seen, expected) in [
            ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", true),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/2", false),
            ("/ip4/192.168.0.9/tcp/1", "/ip4/10.0.0.2/tcp/2", true),
            ("/ip4/192.168.0.9/tcp/1", "/ip4/8.8.8.8/tcp/2", false),
            ("/ip6/fd00::1/tcp/1", "/ip4/8.8.8.8/tcp/2", false),
            ("/ip4/9.9.9.9/tcp/1", "/ip4/8.8.8.8/tcp/2", true),
            ("/ip4/0.0.0.0/tcp/1", "/ip4/127.0.0.1/tcp/2", false),
            ("/dns4/example.org/tcp/1", "/ip4/8.8.8.8/tcp/2", true),
        ] {
            assert_eq!(is_plausible(&address(named), &address(seen)), expected, "{named} from {seen}");
        }
    }
}
