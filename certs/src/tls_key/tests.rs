use super::*;

#[test]
fn a_key_comes_back_from_its_pem() {
    let key = TlsKey::generate().expect("a key");
    let again = TlsKey::from_pem(&key.to_pem()).expect("the key reads back");
    assert_eq!(again.public(), key.public());
    assert_eq!(*again.to_pem(), *key.to_pem());
}

#[test]
fn two_keys_differ() {
    let keys = [TlsKey::generate().expect("a key"), TlsKey::generate().expect("a key")];
    assert_ne!(keys[0].public(), keys[1].public());
}

#[test]
fn what_ring_signs_the_verifier_without_ring_accepts() {
    let key = TlsKey::generate().expect("a key");
    let signature = key.sign(b"transcript").expect("a signature");
    key.public().verify(b"transcript", &signature).expect("the signature holds");
    assert!(key.public().verify(b"transcripT", &signature).is_err());
    assert!(TlsKey::generate().expect("a key").public().verify(b"transcript", &signature).is_err());
}

#[test]
fn other_texts_are_refused_and_keys_are_never_printed() {
    // A P-384 key, made by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384`.
    let p384 = "-----BEGIN PRIVATE KEY-----\n\
        MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDD/T3qRiS+qHYyzYUpg\n-----END PRIVATE KEY-----\n";
    let certificate = crate::pem::encode(crate::pem::CERTIFICATE, b"x");
    assert_eq!(TlsKey::from_pem("").expect_err("empty"), TlsKeyError::Pem);
    assert_eq!(TlsKey::from_pem(&certificate).expect_err("a certificate"), TlsKeyError::Pem);
    assert!(matches!(TlsKey::from_pem(p384).expect_err("another curve"), TlsKeyError::Kind(_)));
    let key = TlsKey::generate().expect("a key");
    let secret = key.to_pem();
    let line = secret.lines().nth(1).expect("a line of base64");
    assert!(!format!("{key:?}").contains(line));
}
