use proptest::prelude::*;

use super::*;

fn person() -> PersonKey {
    PersonKey::new(&[7; 32]).unwrap()
}

#[test]
fn a_key_file_gives_back_both_keys() {
    let key = person();
    let bytes = key.encode();
    let read = PersonKey::parse(&bytes).unwrap();
    assert_eq!(read.public(), key.public());
    assert_eq!(*read.signing.seed(), [7; 32]);
    assert_eq!(*read.encode(), *bytes);
    // Written by hand, and still the canonical form of its value.
    assert_eq!(Value::parse(&bytes).unwrap().to_bytes(), *bytes);
}

#[test]
fn a_protected_key_file_opens_with_its_passphrase_only() {
    let passphrase = |text: &str| Passphrase::of_line(text.as_bytes()).unwrap();
    let key = person();
    let bytes = key.protect_at(&passphrase("one two three"), &[9; 28], 14).unwrap();
    assert!(PersonKey::is_protected(&bytes) && !PersonKey::is_protected(&key.encode()));
    assert!(bytes.len() < PERSON_KEY_BYTES_MAX / 4, "{}", bytes.len());
    let read = PersonKey::unlock(&bytes, &passphrase("one two three")).unwrap();
    assert_eq!(read.public(), key.public());
    let wrong = PersonKey::unlock(&bytes, &passphrase("one two four")).unwrap_err();
    assert_eq!(wrong, PersonKeyError::Passphrase(PassphraseError::Wrong));
    assert_eq!(PersonKey::parse(&bytes).unwrap_err(), PersonKeyError::Protected);
    // Neither secret stands in the file.
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(!text.contains(&json::encode_base64(&[7; 32])) && !text.contains("PRIVATE"), "{text}");
    // No byte of the file can be changed without notice.
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        PersonKey::unlock(&changed, &passphrase("one two three")).unwrap_err();
    }
    // A new file costs what the constant says.
    let text = String::from_utf8(key.protect(&passphrase("one two three"), &[9; 28]).unwrap()).unwrap();
    assert!(text.contains("\"log_n\":17"), "{text}");
}

#[test]
fn a_public_key_file_gives_back_both_halves() {
    let public = person().public();
    let mut bytes = public.encode();
    assert_eq!(PersonPublicKey::parse(&bytes).unwrap(), public);
    bytes.push(b'\n');
    assert_eq!(PersonPublicKey::parse(&bytes).unwrap(), public);
    bytes.push(b'\n');
    PersonPublicKey::parse(&bytes).unwrap_err();
}

#[test]
fn the_two_files_are_not_taken_for_each_other() {
    let key = person();
    let error = PersonPublicKey::parse(&key.encode()).unwrap_err().to_string();
    assert!(error.contains("give the .pub file"), "{error}");
    let error = PersonKey::parse(&key.public().encode()).unwrap_err().to_string();
    assert!(error.contains("not its .pub file"), "{error}");
}

#[test]
fn errors_and_debug_hold_no_secret() {
    let key = person();
    let text = String::from_utf8(key.encode().to_vec()).unwrap();
    let seed = json::encode_base64(&[7; 32]);
    assert!(text.contains(&seed));
    assert!(!format!("{key:?}").contains(&seed));
    let cut = text.replace("BEGIN PRIVATE KEY", "BEGIN PRIVATE KEX");
    let error = PersonKey::parse(cut.as_bytes()).unwrap_err();
    assert_eq!(error, PersonKeyError::Tls(TlsKeyError::Pem));
    assert!(!error.to_string().contains(&seed));
}

#[test]
fn a_weak_public_key_is_refused() {
    let public = person().public();
    let text = String::from_utf8(public.encode()).unwrap();
    let weak = text.replace(&public.signing.hex(), &"00".repeat(32));
    assert_eq!(PersonPublicKey::parse(weak.as_bytes()), Err(PersonKeyError::Signing(KeyError::SmallOrder)));
}

proptest! {
    #[test]
    fn a_changed_byte_never_reads_as_the_same_person(position in 0usize..200, xor in 1u8..=255) {
        let public = person().public();
        let mut bytes = public.encode();
        let position = position % bytes.len();
        bytes[position] ^= xor;
        prop_assert_ne!(PersonPublicKey::parse(&bytes).ok(), Some(public));
    }
}
