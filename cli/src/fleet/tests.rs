use super::*;
use crate::table::WIDTH_COLUMNS;

#[test]
fn a_device_table_fits() {
    let device = DeviceRow {
        device: DeviceId::from_bytes([7; 16]).to_string(),
        class: "container".to_owned(),
        group: "g".repeat(63),
        state: "in-service".to_owned(),
        last_ms: 1_795_000_000_000,
        ..DeviceRow::default()
    };
    let mut out = Vec::new();
    device_table(std::slice::from_ref(&device)).write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH_COLUMNS), "{text}");
    assert!(text.contains(&device.device), "{text}");
}

#[test]
fn a_minute_is_seventeen_columns() {
    assert_eq!(minute(Timestamp(0)), "1970-01-01 00:00Z");
    assert_eq!(minute(Timestamp(1_700_000_000_000)), "2023-11-14 22:13Z");
}
