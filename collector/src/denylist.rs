//! Whose keys are good no more, and the open connections that end with them.
//!
//! A revocation list stops handshakes; this stops everything else: each call asks here, and the connections of whoever is
//! revoked are cut the moment the entry is committed, before the one who revoked is answered. The roster decides, nothing
//! else: whoever replays the log comes to the same list.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use certs::Peer;
use evidence::ids::{DeviceId, PersonId};
use evidence::roster::Roster;
use evidence::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The holder of certificates, whatever the role in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A device.
    Device(DeviceId),
    /// A person.
    Person(PersonId),
}

impl From<Peer> for Holder {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Agent(device) => Self::Device(device),
            Peer::Person { id, .. } => Self::Person(id),
        }
    }
}

/// A revocation that stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Index of the entry.
    pub index: u64,
    /// Its receipt.
    pub since: Timestamp,
}

/// Whose keys are revoked. One per collector, shared by every listener.
#[derive(Debug)]
pub struct Denylist {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
    /// Statements of keys that sign no more, refused by the writer.
    pub statements_refused: AtomicU64,
    /// Calls refused over connections that were open already.
    pub calls_refused: AtomicU64,
    /// Connections cut.
    pub cut: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    denied: BTreeMap<Holder, Denied>,
    live: HashMap<Holder, Vec<(u64, CancellationToken)>>,
    next: u64,
}

impl Default for Denylist {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changes: watch::Sender::new(0),
            statements_refused: AtomicU64::new(0),
            calls_refused: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }
}

impl Denylist {
    /// Takes what the roster says now, cuts the connections of whoever is new on it, and tells the listeners.
    /// `received` gives an entry's receipt.
    pub fn follow(&self, roster: &Roster, received: impl Fn(u64) -> Timestamp) {
        let devices =
            roster.devices().filter_map(|(id, device)| Some((Holder::Device(*id), device.revoked?)));
        let persons =
            roster.all_persons().filter_map(|person| Some((Holder::Person(person.person), person.revoked?)));
        for (holder, index) in devices.chain(persons) {
            if self.denied(holder).is_none() {
                self.deny(holder, Denied { index, since: received(index) });
            }
        }
    }

    pub(crate) fn deny(&self, holder: Holder, denied: Denied) {
        let mut inner = self.lock();
        inner.denied.insert(holder, denied);
        let connections = inner.live.remove(&holder).unwrap_or_default();
        drop(inner);
        for (_, connection) in connections {
            connection.cancel();
            self.cut.fetch_add(1, Ordering::Relaxed);
        }
        self.changes.send_modify(|changes| *changes = changes.saturating_add(1));
    }

    /// The revocation of a holder, if there is one.
    pub fn denied(&self, holder: impl Into<Holder>) -> Option<Denied> {
        self.lock().denied.get(&holder.into()).copied()
    }

    /// Everybody who is revoked.
    pub fn all(&self) -> Vec<(Holder, Denied)> {
        self.lock().denied.iter().map(|(holder, denied)| (*holder, *denied)).collect()
    }

    /// Notes a new connection of a holder, unless they are revoked. Asked and noted in one step: no connection slips in
    /// between a revocation and its cutting.
    pub fn enter(self: &Arc<Self>, holder: impl Into<Holder>) -> Result<Live, Denied> {
        let holder = holder.into();
        let mut inner = self.lock();
        if let Some(denied) = inner.denied.get(&holder) {
            return Err(*denied);
        }
        let (number, token) = (inner.next, CancellationToken::new());
        inner.next = inner.next.wrapping_add(1);
        inner.live.entry(holder).or_default().push((number, token.clone()));
        Ok(Live { list: Arc::clone(self), holder, number, token })
    }

    /// How many revocations there were since the start: a listener that sees it change makes its list anew.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection's place on the list of those that a revocation cuts; given back when dropped.
#[derive(Debug)]
pub struct Live {
    list: Arc<Denylist>,
    holder: Holder,
    number: u64,
    token: CancellationToken,
}

impl Live {
    /// Cancelled when the holder is revoked.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut inner = self.list.lock();
        if let Some(open) = inner.live.get_mut(&self.holder) {
            open.retain(|(number, _)| *number != self.number);
            // Holders that are gone must not fill the memory.
            if open.is_empty() {
                inner.live.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests;
