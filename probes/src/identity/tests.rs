use proptest::prelude::*;

use super::*;

fn said(identifier: &Identifier) -> (&str, Option<bool>) {
    (&identifier.value, identifier.placeholder)
}

#[test]
fn placeholders_of_uuids_are_none() {
    for text in [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE",
        "03000200-0400-0500-0006-000700080009",
        "03020100-0504-0706-0809-0A0B0C0D0E0F",
        "10000000-0000-8000-0040-000000000000",
    ] {
        assert_eq!(said(&uuid(Some(text))), ("", Some(true)), "{text}");
    }
    for text in
        ["", "4c4c4544", "4c4c4544-0042-3510-8058-b4c04f50323", "4c4c4544x0042x3510x8058xb4c04f503233"]
    {
        assert_eq!(said(&uuid(Some(text))), ("", None), "{text}");
    }
    let good = "4c4c4544-0042-3510-8058-b4c04f503233";
    assert_eq!(said(&uuid(Some(&good.to_uppercase()))), (good, Some(false)));
}

#[test]
fn placeholders_of_serial_numbers_are_none() {
    let serial = |text: &str| serial(IdentifierKind::SystemSerial, Some(text));
    for text in [
        "To Be Filled By O.E.M.",
        "0123456789",
        "Default string",
        "System Serial Number",
        "Not Specified",
        "Not Available",
        "N/A",
        "None",
        ".",
        "-",
        "000000000000",
        "ZZZZZZZZ",
        " ",
        "",
    ] {
        assert_eq!(said(&serial(text)), ("", Some(true)), "{text:?}");
    }
    assert_eq!(said(&serial(" PF3ABCDE ")), ("PF3ABCDE", Some(false)));
    assert_eq!(said(&serial(&"A1".repeat(40))), ("", None));
}

#[test]
fn the_id_of_an_installation_stays_on_the_machine() {
    // python3 -c "import hashlib; print(hashlib.sha256(b'tallystick/machine-id/v1\0' + b'0f'*16).hexdigest()[:32])"
    let id = "0f".repeat(16);
    assert_eq!(said(&machine_id(Some(&id))), ("7fb39f352317d5a97a909e3a8fba36a1", Some(false)));
    let guid = "0F0F0F0F-0F0F-0F0F-0F0F-0F0F0F0F0F0F";
    assert_eq!(machine_id(Some(guid)), machine_id(Some(&id)));
    assert_eq!(said(&machine_id(Some("uninitialized"))), ("", None));
    assert_eq!(said(&machine_id(Some(&"0".repeat(32)))), ("", Some(true)));
}

#[test]
fn only_addresses_of_makers_count() {
    assert_eq!(mac_address("54-E1-AD-00-11-22").unwrap().value, "54:e1:ad:00:11:22");
    for text in ["02:42:ac:11:00:02", "01:00:5e:00:00:01", "00:00:00:00:00:00", "54:e1:ad:00:11", ""] {
        assert_eq!(mac_address(text), None, "{text}");
    }
}

#[test]
fn a_vector_of_nothing_is_no_vector() {
    assert_eq!(observed(vec![unknown(IdentifierKind::MachineId), uuid(None)]), None);
    assert!(observed(vec![uuid(Some("00000000-0000-0000-0000-000000000000"))]).is_some());
}

proptest! {
    #[test]
    fn turning_twice_is_no_turn(bytes in any::<[u8; 16]>()) {
        let hex = |part: std::ops::Range<usize>| {
            bytes[part].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        };
        let text = format!("{}-{}-{}-{}-{}", hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16));
        let once = turned(&text).unwrap();
        prop_assert_eq!(once.get(19..), text.get(19..));
        prop_assert_eq!(turned(&once), Some(text));
    }

    #[test]
    fn any_text_makes_a_row(text in ".{0,80}") {
        for row in [uuid(Some(&text)), machine_id(Some(&text)), name(IdentifierKind::Hostname, Some(&text))] {
            prop_assert!(row.value.len() <= VALUE_BYTES_MAX);
            prop_assert_eq!(row.value.is_empty(), row.placeholder != Some(false));
        }
    }
}
