use proptest::prelude::*;

use super::*;

#[test]
fn lines_are_64_characters_and_end_in_line_feeds() {
    let text = encode("CERTIFICATE", &[0; 49]);
    assert_eq!(
        text,
        format!("-----BEGIN CERTIFICATE-----\n{}\nAA==\n-----END CERTIFICATE-----\n", "A".repeat(64))
    );
    assert_eq!(encode("CERTIFICATE", &[0; 48]).lines().count(), 3);
}

#[test]
fn a_text_without_the_block_says_what_was_looked_for() {
    for text in ["", "hello", &encode(PRIVATE_KEY, b"x")] {
        let error = certificates(text).expect_err("no certificate");
        assert_eq!(error.expected, "certificate");
        assert!(certificate(text).is_err());
        assert!(revocation_list(text).is_err());
    }
    assert!(private_key(&encode(CERTIFICATE, b"x")).is_none());
}

#[test]
fn a_damaged_block_is_an_error_and_not_a_shorter_list() {
    let good = encode(CERTIFICATE, b"first certificate");
    let damaged = encode(CERTIFICATE, b"second certificate").replacen("-----\n", "-----\n!", 1);
    assert!(certificates(&[good, damaged].concat()).is_err());
}

proptest! {
    #[test]
    fn blocks_come_back(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..5)) {
        let text: String = ders.iter().map(|der| encode(CERTIFICATE, der)).collect();
        let back: Vec<Vec<u8>> = certificates(&text).expect("reads back").iter().map(|c| c.to_vec()).collect();
        prop_assert_eq!(back, ders);
    }
}
