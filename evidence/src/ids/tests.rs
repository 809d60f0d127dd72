//! Every identifier's one form, and what is near it.

use proptest::prelude::*;

use super::*;

const ZEROS: &str = "d-aaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Python: base64.b32encode(bytes(range(16))).rstrip(b"=").lower().
const RANGE: &str = "d-aaaqeayeaudaocajbifqydiob4";

fn range() -> [u8; 16] {
    std::array::from_fn(|n| u8::try_from(n).unwrap())
}

#[test]
fn random_ids_are_base32_of_sixteen_bytes() {
    assert_eq!(DeviceId::from_bytes([0; 16]).to_string(), ZEROS);
    assert_eq!(DeviceId::from_bytes(range()).to_string(), RANGE);
    assert_eq!(RANGE.parse(), Ok(DeviceId::from_bytes(range())));
    assert_eq!(InstanceId::from_bytes(range()).to_string(), RANGE.replace("d-", "i-"));
    assert_eq!(PersonId::from_bytes(range()).to_string(), RANGE.replace("d-", "p-"));
    assert_eq!(EngagementId::from_bytes(range()).to_string(), RANGE.replace("d-", "e-"));
    assert_eq!(DeviceId::from_slice(&range()).unwrap().as_bytes(), &range());
    assert_eq!(DeviceId::from_slice(&[0; 17]), Err(IdError::Length { expected: 16, found: 17 }));
}

#[test]
fn other_forms_of_a_random_id_are_refused() {
    let tail = RANGE.strip_prefix("d-").unwrap();
    let forms = [
        String::new(),
        "d-".to_owned(),
        tail.to_owned(),
        format!("i-{tail}"),
        format!("D-{tail}"),
        format!("d_{tail}"),
        RANGE.to_ascii_uppercase(),
        format!("d-{}", tail.to_ascii_uppercase()),
        format!("{RANGE}a"),
        format!("{RANGE}="),
        format!("{RANGE}======"),
        format!(" {RANGE}"),
        format!("{RANGE}\n"),
        RANGE.replace('a', "1"),
        RANGE.replace('a', "0"),
        RANGE.replace('a', "8"),
        RANGE.replace('a', "ä"),
        tail.strip_suffix('4').map(|head| format!("d-{head}")).unwrap(),
    ];
    for form in forms {
        assert!(form.parse::<DeviceId>().is_err(), "{form:?}");
    }
}

#[test]
fn the_two_spare_bits_are_zero() {
    let head = RANGE.strip_suffix('4').unwrap();
    for last in "abcdefghijklmnopqrstuvwxyz234567".chars() {
        let accepted = format!("{head}{last}").parse::<DeviceId>().is_ok();
        assert_eq!(accepted, "aeimquy4".contains(last), "{last}");
    }
}

#[test]
fn names_are_short_lower_case_and_do_not_begin_with_a_hyphen() {
    let longest = "a".repeat(ID_BYTES_MAX);
    for good in ["a", "0", "a-", "a--b", "disk-encryption", "0-9", longest.as_str()] {
        assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
    }
    let too_long = "a".repeat(ID_BYTES_MAX + 1);
    for bad in ["", "-", "-a", "A", "a_b", "a b", "a.b", "a/b", "ä", "a\n", "a\0", too_long.as_str()] {
        assert!(bad.parse::<Name>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_digest_has_one_form() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").hex(), hex);
    assert_eq!(Digest::of_parts(&[b"a", b"", b"bc"]), Digest::of(b"abc"));
    assert_eq!(Digest::from_hex(hex), Ok(Digest::of(b"abc")));
    assert_eq!(Digest::ZERO.hex(), "0".repeat(64));
    let upper = hex.to_ascii_uppercase();
    let longer = format!("{hex}00");
    for bad in [
        "",
        &upper,
        &longer,
        hex.split_at(1).1,
        hex.split_at(2).1,
        &hex.replace('b', "g"),
        &format!("{hex} "),
    ] {
        assert!(Digest::from_hex(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_unit_is_device_day_and_control() {
    let text = format!("{RANGE}/2026-11-22/disk-encryption");
    let unit: UnitId = text.parse().unwrap();
    assert_eq!((unit.device.to_string().as_str(), unit.control.as_str()), (RANGE, "disk-encryption"));
    assert_eq!(unit.day.to_string(), "2026-11-22");
    assert_eq!(unit.to_string(), text);
    for bad in [
        String::new(),
        format!("{RANGE}/2026-11-22"),
        format!("{text}/"),
        format!("{text}/x"),
        format!("/{text}"),
        text.replace("11-22", "11-31"),
        text.replace("d-", "i-"),
        text.replace("disk", "Disk"),
        text.replace('/', "//"),
    ] {
        assert!(bad.parse::<UnitId>().is_err(), "{bad:?}");
    }
}

#[test]
fn classes_are_the_five_of_the_format() {
    let names: Vec<&str> = Class::ALL.into_iter().map(Class::as_str).collect();
    assert_eq!(names, ["laptop", "desktop", "server", "vm", "container"]);
    for class in Class::ALL {
        assert_eq!(class.as_str().parse(), Ok(class));
    }
    for bad in ["", "Laptop", "laptops", "unspecified", " vm"] {
        assert!(bad.parse::<Class>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn random_ids_come_back(bytes: [u8; 16]) {
        let id = InstanceId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn whatever_parses_is_written_as_it_was(text in "[depi]-[a-z2-7]{24,28}|[a-z0-9-]{0,66}|.{0,40}") {
        if let Ok(id) = text.parse::<DeviceId>() {
            prop_assert_eq!(id.to_string(), text.clone());
        }
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        if let Ok(unit) = text.parse::<UnitId>() {
            prop_assert_eq!(unit.to_string(), text);
        }
    }
}
