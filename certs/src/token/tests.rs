use proptest::prelude::*;

use super::*;

fn token(secret: [u8; 32], pin: [u8; 32]) -> Token {
    Token::new(secret, Pin(Digest(pin)))
}

#[test]
fn the_text_is_that_of_the_format() {
    // base32 of 32 zero bytes is 52 times a; of 32 bytes 0xff it is 51 times 7 and q (the last character holds 1 bit).
    let text = token([0; 32], [0xff; 32]).text();
    assert_eq!(*text, format!("tst1.{}.{}q", "a".repeat(52), "7".repeat(51)));
}

#[test]
fn the_collector_keeps_the_hash_of_the_secret_only() {
    let token = token([0; 32], [1; 32]);
    // SHA-256 of 32 zero bytes, as `head -c 32 /dev/zero | sha256sum` prints it.
    assert_eq!(token.secret.hash().hex(), "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    assert!(!format!("{token:?}").contains("aaaa"));
}

#[test]
fn errors_say_what_is_wrong() {
    let good = token([3; 32], [4; 32]).text();
    let (head, pin) = good.rsplit_once('.').expect("three parts");
    let cases = [
        (String::new(), TokenError::Version),
        ("evt1.a.b".to_owned(), TokenError::Version),
        (good.to_uppercase(), TokenError::Version),
        ("tst1".to_owned(), TokenError::Version),
        ("tst1.".to_owned(), TokenError::Parts),
        (head.to_owned(), TokenError::Parts),
        (format!("{}.x", *good), TokenError::Parts),
        (format!("{head}."), TokenError::Damaged { part: "pin" }),
        (format!("{head}.{}", pin.to_uppercase()), TokenError::Damaged { part: "pin" }),
        (format!("{head}.{}", pin.chars().skip(1).collect::<String>()), TokenError::Damaged { part: "pin" }),
        (format!("tst1..{pin}"), TokenError::Damaged { part: "secret" }),
        (good.replacen("tst1.a", "tst1.1", 1), TokenError::Damaged { part: "secret" }),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Token>(), Err(error), "{text}");
    }
}

#[test]
fn the_last_character_has_one_spelling() {
    // 52 characters are 260 bits: four of them must be zero, else two texts would be one token.
    let text = format!("tst1.{}b.{}", "a".repeat(51), "a".repeat(52));
    assert_eq!(text.parse::<Token>(), Err(TokenError::Damaged { part: "secret" }));
}

proptest! {
    #[test]
    fn a_token_comes_back(secret: [u8; 32], pin: [u8; 32], before in "[ \t\r\n]{0,3}", after in "[ \t\r\n]{0,3}") {
        let token = token(secret, pin);
        let text = format!("{before}{}{after}", *token.text());
        prop_assert_eq!(text.parse::<Token>(), Ok(token));
    }

    #[test]
    fn what_parses_prints_itself(text in "tst1\\.[a-z2-7]{51,53}\\.[a-z2-7]{51,53}|.{0,120}") {
        if let Ok(token) = text.parse::<Token>() {
            let printed = token.text();
            prop_assert_eq!(printed.as_str(), text.trim());
        }
    }

    #[test]
    fn one_changed_character_is_another_token_or_none(
        secret: [u8; 32], pin: [u8; 32], at in any::<prop::sample::Index>(), with in "[ -~]",
    ) {
        let token = token(secret, pin);
        let mut text = token.text().to_string();
        let at = at.index(text.len());
        prop_assume!(text.get(at..=at) != Some(&with) && !(with == " " && at + 1 == text.len()));
        text.replace_range(at..=at, &with);
        prop_assert_ne!(text.parse::<Token>().ok(), Some(token));
    }
}
