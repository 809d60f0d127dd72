//! One certificate at two places at once, before their chains contradict each other: in memory only, since it is a sign and
//! no proof.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use evidence::ids::InstanceId;

/// An older stream may still deliver what was on the way for so long after a newer one began.
const LEFTOVERS: Duration = Duration::from_secs(10);
/// Boots of one instance kept in mind.
const BOOTS_MAX: usize = 16;

/// What shows that there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twice {
    /// A stream goes on speaking long after a newer one began.
    Streams,
    /// A boot that was over speaks again.
    Boots,
}

impl Twice {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "two connections speak at once",
            Self::Boots => "two boots of the machine take turns",
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    newest: Option<(u64, Instant)>,
    boots: Vec<Vec<u8>>,
    sequence: Option<u64>,
    twice: Option<Twice>,
}

/// Who speaks where.
#[derive(Debug, Default)]
pub struct Live {
    streams: AtomicU64,
    seen: Mutex<BTreeMap<InstanceId, Seen>>,
}

impl Live {
    /// The number of a stream that begins.
    pub fn stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// An instance began to speak on a stream.
    pub fn begin(&self, instance: &InstanceId, stream: u64, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(*instance).or_default();
        if seen.newest.is_none_or(|(newest, _)| newest < stream) {
            seen.newest = Some((stream, now));
        }
    }

    /// An admitted statement came on a stream, an attestation with its boot. What shows two machines, the first time.
    pub fn hear(
        &self,
        instance: &InstanceId,
        stream: u64,
        sequence: u64,
        boot: Option<&[u8]>,
        now: Instant,
    ) -> Option<Twice> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(*instance).or_default();
        let older = seen.newest.is_some_and(|(newest, begun)| {
            stream < newest && now.saturating_duration_since(begun) > LEFTOVERS
        });
        // What is sent again was said by the boot of then.
        let is_new = seen.sequence.is_none_or(|highest| sequence > highest);
        let returned = is_new && boot.is_some_and(|boot| seen.returns(boot));
        seen.sequence = Some(seen.sequence.map_or(sequence, |highest| highest.max(sequence)));
        let found = match (older, returned) {
            (true, _) => Twice::Streams,
            (_, true) => Twice::Boots,
            _ => return None,
        };
        if seen.twice.is_some() {
            return None;
        }
        seen.twice = Some(found);
        Some(found)
    }

    /// Instances that were found at two places since this process began.
    pub fn twice(&self) -> Vec<(InstanceId, Twice)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter_map(|(instance, seen)| Some((*instance, seen.twice?))).collect()
    }
}

impl Seen {
    /// Whether a boot comes back after another one; notes it otherwise.
    fn returns(&mut self, boot: &[u8]) -> bool {
        if self.boots.last().is_some_and(|last| last == boot) {
            return false;
        }
        if self.boots.iter().any(|known| known == boot) {
            return true;
        }
        if self.boots.len() >= BOOTS_MAX {
            self.boots.remove(0);
        }
        self.boots.push(boot.to_vec());
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use evidence::ids::InstanceId;

    use super::{Live, Twice};

    #[test]
    fn boots_that_take_turns_are_two_machines_and_restarts_are_not() {
        let (live, now, instance) = (Live::default(), Instant::now(), InstanceId::from_bytes([1; 16]));
        let hear = |sequence, boot: &[u8]| live.hear(&instance, 0, sequence, Some(boot), now);
        assert_eq!([hear(0, b"a"), hear(1, b"a"), hear(2, b"b")], [None; 3]);
        assert_eq!(hear(1, b"a"), None, "sent again");
        assert_eq!(hear(3, b"a"), Some(Twice::Boots));
        assert_eq!(hear(4, b"b"), None, "told once");
        assert_eq!(live.twice(), [(instance, Twice::Boots)]);
    }

    #[test]
    fn an_old_stream_that_goes_on_is_another_machine() {
        let (live, now, instance) = (Live::default(), Instant::now(), InstanceId::from_bytes([1; 16]));
        let (one, two) = (live.stream(), live.stream());
        live.begin(&instance, one, now);
        live.begin(&instance, two, now);
        assert_eq!(live.hear(&instance, one, 1, None, now + Duration::from_secs(1)), None, "on the way");
        assert_eq!(live.hear(&instance, two, 2, None, now + Duration::from_mins(1)), None);
        assert_eq!(live.hear(&instance, one, 3, None, now + Duration::from_mins(1)), Some(Twice::Streams));
    }
}
