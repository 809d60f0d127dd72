use std::sync::Arc;

use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;

use super::{Denied, Denylist, Holder};

const DENIED: Denied = Denied { index: 9, since: Timestamp(1) };

#[test]
fn connections_of_the_revoked_are_cut_and_no_new_one_gets_in() {
    let list = Arc::new(Denylist::default());
    let mut changes = list.changes();
    let (lost, other) =
        (Holder::Device(DeviceId::from_bytes([1; 16])), Holder::Person(PersonId::from_bytes([1; 16])));
    let gone = list.enter(lost).unwrap();
    drop(gone);
    let (first, second, kept) =
        (list.enter(lost).unwrap(), list.enter(lost).unwrap(), list.enter(other).unwrap());
    assert!(!changes.has_changed().unwrap());
    list.deny(lost, DENIED);
    assert!(first.token().is_cancelled() && second.token().is_cancelled());
    assert!(!kept.token().is_cancelled(), "an id of the same bytes is another's");
    assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 1);
    assert_eq!(list.denied(lost), Some(DENIED));
    assert_eq!(list.enter(lost).unwrap_err(), DENIED);
    assert_eq!(list.denied(other), None);
    assert_eq!(list.cut.load(std::sync::atomic::Ordering::Relaxed), 2);
    drop((first, second, kept));
    assert!(list.lock().live.is_empty(), "holders that are gone take no memory");
}
