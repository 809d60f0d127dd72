//! Canonical JSON: what parses is written as it was, and an act's envelope likewise.
#![no_main]

use evidence::{dsse::ActEnvelope, json::Value};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(value) = Value::parse(data) {
        assert_eq!(value.to_bytes(), data);
    }
    if let Ok(value) = Value::parse_any(data) {
        assert_eq!(Value::parse(&value.to_bytes()), Ok(value));
    }
    if let Ok(envelope) = ActEnvelope::parse(data) {
        assert_eq!(envelope.encode(), data);
    }
});
