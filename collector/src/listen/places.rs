//! How many connections each peer, or each address, has.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an IPv6 address that tell one network from another: whoever has one address has all 2^64 of its network.
const NETWORK_BITS: u32 = 64;

/// How many places each has taken.
#[derive(Debug)]
pub(super) struct Places<K: Eq + Hash>(Mutex<HashMap<K, usize>>);

impl<K: Eq + Hash> Default for Places<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Copy> Places<K> {
    /// Counts one more of `key`; `None` when it has `max` already.
    pub(super) fn enter(self: &Arc<Self>, key: K, max: usize) -> Option<Slot<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = counts.entry(key).or_insert(0);
        if *open >= max {
            return None;
        }
        *open += 1;
        Some(Slot { places: Arc::clone(self), key })
    }
}

/// One place in [`Places`], given back when dropped.
#[derive(Debug)]
pub(super) struct Slot<K: Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut counts = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = counts.get_mut(&self.key) {
            *open = open.saturating_sub(1);
            // Peers that are gone must not fill the memory.
            if *open == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// The address that stands for all that one peer can have.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_peer_and_an_address_of_ipv4_another() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn a_place_is_given_back_and_nothing_is_kept_of_who_is_gone() {
        let places = Arc::new(Places::default());
        let held = [places.enter(1, 2).expect("room"), places.enter(1, 2).expect("room")];
        assert!(places.enter(1, 2).is_none());
        assert!(places.enter(2, 2).is_some());
        drop(held);
        assert!(places.0.lock().expect("not poisoned").is_empty());
    }
}
