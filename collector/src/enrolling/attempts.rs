//! Wrong tokens by address: whoever guesses is locked out for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens of one address until it is locked: a person who copies a token badly needs two or three.
pub const WRONG_TOKENS_MAX: usize = 5;
/// They count for so long, and the lock lasts as long as five count: a token of 256 bits is never found at 30 guesses an
/// hour, and the log stays readable.
pub const WRONG_TOKENS_WINDOW: Duration = Duration::from_mins(10);
/// Addresses kept in mind: some hundred KiB. Beyond it the one that guessed longest ago is forgotten.
pub const ADDRESSES_MAX: usize = 4_096;

/// Who gave wrong tokens, and when.
#[derive(Debug, Default)]
pub struct Attempts {
    wrong: Mutex<HashMap<IpAddr, Vec<Instant>>>,
}

impl Attempts {
    /// Whether an address gave too many wrong tokens lately. Asked before its token is looked at.
    pub fn is_locked(&self, address: IpAddr, now: Instant) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = wrong.get_mut(&network(address)) else { return false };
        times.retain(|time| now.saturating_duration_since(*time) < WRONG_TOKENS_WINDOW);
        times.len() >= WRONG_TOKENS_MAX
    }

    /// Notes a wrong token.
    pub fn note(&self, address: IpAddr, now: Instant) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if wrong.len() >= ADDRESSES_MAX && !wrong.contains_key(&network) {
            let oldest = wrong.iter().min_by_key(|(_, times)| times.last().copied()).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                wrong.remove(&oldest);
            }
        }
        let times = wrong.entry(network).or_default();
        if times.len() >= WRONG_TOKENS_MAX {
            times.remove(0);
        }
        times.push(now);
    }
}

/// What one guesser has: an IPv4 address, or the /64 of an IPv6 address, within which anybody takes as many as he likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits())),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    use super::{ADDRESSES_MAX, Attempts, WRONG_TOKENS_MAX, WRONG_TOKENS_WINDOW};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_locked_after_five_and_free_again_after_ten_minutes() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let guesser = address("192.0.2.7");
        for wrong in 0..WRONG_TOKENS_MAX {
            assert!(!attempts.is_locked(guesser, start), "after {wrong}");
            attempts.note(guesser, start);
        }
        assert!(attempts.is_locked(guesser, start));
        assert!(!attempts.is_locked(address("192.0.2.8"), start));
        assert!(
            attempts.is_locked(guesser, start + WRONG_TOKENS_WINDOW.saturating_sub(Duration::from_secs(1)))
        );
        assert!(!attempts.is_locked(guesser, start + WRONG_TOKENS_WINDOW));
    }

    #[test]
    fn one_network_of_ipv6_is_one_guesser() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..WRONG_TOKENS_MAX {
            attempts.note(address(&format!("2001:db8:1:2::{host}")), now);
        }
        assert!(attempts.is_locked(address("2001:db8:1:2:ffff::1"), now));
        assert!(!attempts.is_locked(address("2001:db8:1:3::1"), now));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_guessed_last() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let numbered = |number: usize| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()));
        for number in 0..ADDRESSES_MAX + 100 {
            attempts.note(numbered(number), start + Duration::from_millis(number as u64));
        }
        let kept = attempts.wrong.lock().unwrap().len();
        assert_eq!(kept, ADDRESSES_MAX);
        assert!(attempts.wrong.lock().unwrap().contains_key(&numbered(ADDRESSES_MAX + 99)));
        assert!(!attempts.wrong.lock().unwrap().contains_key(&numbered(0)));
    }
}
