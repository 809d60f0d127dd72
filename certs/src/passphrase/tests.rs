use super::*;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::of_line(text.as_bytes()).unwrap()
}

#[test]
fn only_the_same_passphrase_opens_and_any_change_shows() {
    let (salt, nonce) = ([1; SALT_BYTES], [2; NONCE_BYTES]);
    let sealed = passphrase("correct horse").seal("label", b"secret", &salt, nonce, LOG_N_MIN).unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    let open = |text: &str, label: &str, sealed: &[u8], salt, nonce, log_n| {
        passphrase(text).open(label, sealed.to_vec(), &salt, nonce, log_n).map(|plain| plain.to_vec())
    };
    assert_eq!(open("correct horse", "label", &sealed, salt, nonce, LOG_N_MIN).unwrap(), b"secret");
    let wrong = Err(PassphraseError::Wrong);
    for text in ["correct horsf", "correct hors", "Correct horse", "correct horse "] {
        assert_eq!(open(text, "label", &sealed, salt, nonce, LOG_N_MIN), wrong, "{text}");
    }
    assert_eq!(open("correct horse", "other", &sealed, salt, nonce, LOG_N_MIN), wrong);
    assert_eq!(open("correct horse", "label", &sealed, [3; 16], nonce, LOG_N_MIN), wrong);
    assert_eq!(open("correct horse", "label", &sealed, salt, [3; 12], LOG_N_MIN), wrong);
    assert_eq!(open("correct horse", "label", &sealed, salt, nonce, LOG_N_MIN + 1), wrong);
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert_eq!(open("correct horse", "label", &changed, salt, nonce, LOG_N_MIN), wrong, "byte {place}");
    }
    assert_eq!(open("correct horse", "label", &[], salt, nonce, LOG_N_MIN), wrong);
    for log_n in [0, LOG_N_MIN - 1, LOG_N_MAX + 1, 63, 255] {
        let cost = Err(PassphraseError::Cost(log_n));
        assert_eq!(open("correct horse", "label", &sealed, salt, nonce, log_n), cost);
    }
}

/// RFC 7914 section 12 has a vector of N = 2^14, r = 8, p = 1.
#[test]
fn scrypt_is_the_rfcs() {
    let mut out = [0; 64];
    let params = scrypt::Params::new(14, R, P).unwrap();
    scrypt::scrypt(b"pleaseletmein", b"SodiumChloride", &params, &mut out).unwrap();
    let expected = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2\
                    d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887";
    assert_eq!(data_encoding::HEXLOWER.encode(&out), expected);
}

#[test]
fn a_passphrase_is_one_line() {
    for (bytes, text) in [(&b"a b\n"[..], "a b"), (b"a b\r\n", "a b"), (b"a b", "a b"), (b" \n", " ")] {
        assert_eq!(Passphrase::of_line(bytes).unwrap().0.as_str(), text);
    }
    let long = vec![b'a'; PASSPHRASE_BYTES_MAX + 1];
    for bytes in [&b""[..], b"\n", b"a\nb", b"a\n\n", b"\xff", b"a\0b", &long] {
        assert_eq!(Passphrase::of_line(bytes).unwrap_err(), PassphraseError::Form);
    }
    assert_eq!(passphrase("eleven char").checked().unwrap_err(), PassphraseError::Short);
    assert!(passphrase("twelve chars").checked().is_ok());
    assert_eq!(format!("{:?}", passphrase("twelve chars")), "Passphrase");
}
