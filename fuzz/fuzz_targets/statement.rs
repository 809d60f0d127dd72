//! Device envelopes, statements and leaves: what parses is written as it was.
#![no_main]

use evidence::{envelope::Envelope, leaf::Leaf, statement::Statement};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.encode(), data);
    }
    if let Ok(envelope) = Envelope::parse(data) {
        assert_eq!(envelope.bytes(), data);
        let _claimed = envelope.claimed();
    }
    if let Ok(leaf) = Leaf::parse(data) {
        assert_eq!(leaf.encode(), data);
    }
});
