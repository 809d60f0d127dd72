use super::*;

#[test]
fn what_is_pending_is_installed_after_the_lag() {
    let begin = 1_000_000;
    for device in 0..200 {
        let updates = Updates::new(7, device, begin);
        let mut facts = proto::OsPatch { kernel: "6.1.0-28-amd64".to_owned(), ..proto::OsPatch::default() };
        let mut installed_before = 0;
        for minute in (begin..begin + 100 * DAY).step_by(360) {
            updates.patch(&mut facts, minute, minute);
            let (lists, installed) = (facts.lists_minutes(), facts.installed_minutes());
            assert!(lists <= minute && lists + 2 * DAY > minute, "device {device}");
            assert!(installed <= minute && installed >= installed_before, "device {device}");
            // Nothing is pending once the newest release is installed.
            let newest = updates.released_at(updates.released(minute) - 1);
            let is_due = newest + updates.lag <= minute;
            assert!(!is_due || facts.pending_security() == 0, "device {device}");
            assert_eq!(facts.pending_security() == 0, updates.installed(minute) >= updates.released(lists));
            assert!(!facts.reboot_required());
            installed_before = installed;
        }
        assert_ne!(facts.kernel, "6.1.0-28-amd64");
    }
}

#[test]
fn a_new_kernel_waits_for_a_reboot() {
    let updates = Updates::new(7, 1, 1_000_000);
    let mut facts = proto::OsPatch { kernel: "6.1.0-28-amd64".to_owned(), ..proto::OsPatch::default() };
    updates.patch(&mut facts, 1_000_000 + 60 * DAY, 1_000_000);
    assert!(facts.reboot_required());
    assert_eq!(facts.kernel, "6.1.0-28-amd64");
}

#[test]
fn devices_have_their_own_identifiers_for_ever() {
    let recorded = || proto::DeviceIdentity {
        identifiers: [
            (proto::IdentifierKind::HardwareUuid, "2a1f6c5d-7b3e-4d21-9c8f-54e1ad001122"),
            (proto::IdentifierKind::SystemSerial, "PF3ABCDE"),
            (proto::IdentifierKind::MacAddress, "54:e1:ad:00:11:22"),
            (proto::IdentifierKind::Vendor, "LENOVO"),
        ]
        .map(|(kind, value)| proto::Identifier {
            kind: kind.into(),
            value: value.to_owned(),
            placeholder: Some(false),
        })
        .into(),
        identifiers_truncated: false,
    };
    let of = |device| {
        let mut facts = recorded();
        identity::apply(&mut facts, device);
        facts.identifiers.into_iter().map(|identifier| identifier.value).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    let (one, two) = (of(1), of(2));
    assert!((0..3).all(|at| one[at] != two[at] && one[at].len() == recorded().identifiers[at].value.len()));
    assert!(one[1].starts_with("PF") && one[2].starts_with("54:e1:ad:"), "{one:?}");
    assert_eq!(one[3], "LENOVO");
}
