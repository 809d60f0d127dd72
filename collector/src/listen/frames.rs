//! Frames of HTTP/2 that ask for an answer and carry nothing. h2 answers each PING and each SETTINGS for ever; here a
//! connection has a budget of them. What else can be flooded h2 limits itself (resets, header blocks, empty DATA).

use std::time::{Duration, Instant};

/// What a client says first (RFC 9113, 3.4). A connection that begins otherwise is not HTTP/2, and is not looked at.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// Such frames at once. A client acknowledges our SETTINGS and keepalives, and measures its link with PINGs.
const AT_ONCE: u32 = 1_000;
/// And one more in this time: twenty a second, where libraries send fewer than ten.
const ONE_MORE: Duration = Duration::from_millis(50);

/// Follows the bytes that a client sends.
#[derive(Debug)]
pub(super) struct FrameGuard {
    state: State,
    /// Such frames it may still send at the moment below.
    left: u32,
    at: Instant,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the preface are there.
    Preface(usize),
    /// So many bytes of a head are there.
    Head([u8; HEAD_BYTES], usize),
    /// So many bytes of a frame are still to come.
    Payload(usize),
    /// Not HTTP/2.
    Other,
}

impl FrameGuard {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Preface(0), left: AT_ONCE, at: now }
    }

    /// Takes what came at `now`; whether the budget is kept.
    pub(super) fn follow(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Preface(there) => {
                    let missing = PREFACE.get(*there..).unwrap_or_default();
                    let (came, rest) = bytes.split_at(bytes.len().min(missing.len()));
                    if missing.starts_with(came) {
                        *there += came.len();
                        if *there == PREFACE.len() {
                            self.state = State::Head([0; HEAD_BYTES], 0);
                        }
                    } else {
                        self.state = State::Other;
                    }
                    rest
                }
                State::Head(head, there) => {
                    let (came, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - *there));
                    for (to, from) in head.iter_mut().skip(*there).zip(came) {
                        *to = *from;
                    }
                    *there += came.len();
                    if *there == HEAD_BYTES {
                        let [a, b, c, kind, ..] = *head;
                        let length = u32::from_be_bytes([0, a, b, c]);
                        self.state = State::Payload(usize::try_from(length).unwrap_or(usize::MAX));
                        if matches!(kind, PING | SETTINGS) && !self.spend(now) {
                            return false;
                        }
                    }
                    rest
                }
                State::Payload(missing) => {
                    let (came, rest) = bytes.split_at(bytes.len().min(*missing));
                    *missing -= came.len();
                    rest
                }
                State::Other => return true,
            };
            if matches!(self.state, State::Payload(0)) {
                self.state = State::Head([0; HEAD_BYTES], 0);
            }
        }
        true
    }

    fn spend(&mut self, now: Instant) -> bool {
        if self.left == 0 {
            let back = now.saturating_duration_since(self.at).as_millis() / ONE_MORE.as_millis();
            self.left = u32::try_from(back).unwrap_or(u32::MAX).min(AT_ONCE);
            self.at = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("short").to_be_bytes();
        [&[length[1], length[2], length[3], kind, 0, 0, 0, 0, 0][..], &vec![7; payload]].concat()
    }

    #[test]
    fn a_connection_has_a_budget_of_pings_and_settings() {
        let mut now = Instant::now();
        for kind in [PING, SETTINGS] {
            let mut guard = FrameGuard::new(now);
            assert!(guard.follow(PREFACE, now));
            for _ in 0..AT_ONCE {
                assert!(guard.follow(&frame(0, 100), now) && guard.follow(&frame(kind, 8), now));
            }
            assert!(!guard.follow(&frame(kind, 8), now));
        }
        // Ten a second for an hour are within it.
        let mut guard = FrameGuard::new(now);
        assert!(guard.follow(PREFACE, now));
        for _ in 0..36_000 {
            assert!(guard.follow(&frame(PING, 8), now));
            now += ONE_MORE * 2;
        }
    }

    #[test]
    fn what_is_not_http2_is_not_looked_at() {
        let now = Instant::now();
        let mut guard = FrameGuard::new(now);
        assert!(guard.follow(b"GET /checkpoint HTTP/1.1\r\n\r\n", now));
        for _ in 0..10 * AT_ONCE {
            assert!(guard.follow(&frame(PING, 8), now));
        }
    }

    proptest! {
        /// However the bytes are cut, the same frames are counted.
        #[test]
        fn cuts_change_nothing(
            kinds in prop::collection::vec((0_u8..10, 0_usize..40), 1..60),
            cuts in prop::collection::vec(1_usize..50, 1..60),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, payload) in &kinds {
                bytes.extend(frame(*kind, *payload));
            }
            let expected = kinds.iter().filter(|(kind, _)| matches!(*kind, PING | SETTINGS)).count();
            let now = Instant::now();
            let mut guard = FrameGuard::new(now);
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (came, later) = rest.split_at(rest.len().min(*cut));
                prop_assert!(guard.follow(came, now));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((AT_ONCE - guard.left) as usize, expected);
            prop_assert!(matches!(guard.state, State::Head(_, 0)));
        }
    }
}
