//! What is said when a command could not do its work.

use std::io;

use super::with_remedy;
use crate::backup::BackupError;
use crate::ledger::OpenError;
use crate::shipment::ShipmentError;
use crate::store::StoreError;

fn failed(kind: io::ErrorKind) -> anyhow::Error {
    let source = io::Error::from(kind);
    OpenError::Io { what: "write the payload bundles in", path: "data/payload".into(), source }.into()
}

#[test]
fn a_full_disk_names_the_ballast_whatever_found_it_full() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let said = with_remedy(&failed(kind).context("the log cannot be opened"));
        assert_eq!(said.matches("delete the file `ballast`").count(), 1, "{said}");
    }
    let said = with_remedy(&failed(io::ErrorKind::PermissionDenied));
    assert!(!said.contains("ballast"), "{said}");
    // The store's errors are words only, so its own message names the ballast: once.
    let store = StoreError::System { what: "No space left on device (os error 28)".to_owned() };
    let said = with_remedy(&OpenError::Store(store).into());
    assert_eq!(said.matches("`ballast`").count(), 1, "{said}");
}

#[test]
fn a_full_disk_of_a_backup_is_not_the_servers() {
    let source = io::ErrorKind::StorageFull.into();
    let error = ShipmentError::Io { what: "write into", path: "usb/00000001".into(), source };
    let said = with_remedy(&BackupError::from(error).into());
    assert!(said.contains("usb/00000001") && said.contains("make room there"), "{said}");
    assert!(!said.contains("ballast"), "{said}");
}
