use super::{Holder, TpmAddress, attestation_key, holder, make_attestation_key, make_tls_key, tls_key};
use crate::state::{StateDirectory, StateError};

fn directory() -> (tempfile::TempDir, StateDirectory) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::new(folder.path().join("state"));
    state.create().unwrap();
    (folder, state)
}

fn write(state: &StateDirectory, name: &str, text: &str) {
    state.write_new_secret(name, text.as_bytes()).unwrap();
}

const WRAPPED: &str =
    r#"{"format":"tallystick/tpm-key/v1","chip":"00","parent":"00","public":"00","private":"00"}"#;

#[test]
fn keys_of_files_come_back_and_are_made_once() {
    let (_folder, state) = directory();
    assert!(holder(&state).is_none() && attestation_key(&state).unwrap().is_none());
    assert!(tls_key(&state).unwrap().is_none());
    let (attestation, tls) = (make_attestation_key(&state).unwrap(), make_tls_key(&state).unwrap());
    assert_eq!(holder(&state), Some(Holder::Files));
    assert_eq!(attestation_key(&state).unwrap().unwrap().public(), attestation.public());
    let again = tls_key(&state).unwrap().unwrap();
    assert_eq!(again.public(), tls.public());
    tls.public().verify(b"message", &again.sign(b"message").unwrap()).unwrap();
    make_attestation_key(&state).unwrap_err();
    make_tls_key(&state).unwrap_err();
    assert_eq!(attestation_key(&state).unwrap().unwrap().public(), attestation.public());
    let printed = format!("{tls:?} {attestation:?}");
    let seed = state.read_secret(super::ATTESTATION_KEY_FILE).unwrap().unwrap();
    assert!(!printed.contains(&data_encoding::HEXLOWER.encode(&seed)), "{printed}");
}

#[test]
fn keys_of_a_tpm_are_not_taken_for_files_nor_for_nothing() {
    let (_folder, state) = directory();
    write(&state, super::SEALED_ATTESTATION_KEY_FILE, WRAPPED);
    write(&state, super::TPM_TLS_KEY_FILE, WRAPPED);
    assert_eq!(holder(&state), Some(Holder::Tpm));
    // Without a TPM in the configuration.
    for error in [attestation_key(&state).unwrap_err(), tls_key(&state).unwrap_err()] {
        let said = error.to_string();
        assert!(said.contains("agent.toml names none") && said.contains("device:/dev/tpmrm0"), "{said}");
    }
    // Beside keys of files.
    write(&state, super::ATTESTATION_KEY_FILE, "0123456789abcdef0123456789abcdef");
    let said = attestation_key(&state).unwrap_err().to_string();
    assert!(said.contains("attestation.key lies beside it"), "{said}");
}

#[test]
fn a_damaged_file_of_a_tpms_key_is_named() {
    for text in ["", "{}", &WRAPPED.replace("v1", "v2"), &WRAPPED.replace('}', r#","more":1}"#)] {
        let (_folder, state) = directory();
        write(&state, super::TPM_TLS_KEY_FILE, text);
        let error = tls_key(&state).unwrap_err();
        assert!(matches!(&error, StateError::Damaged { path, .. } if path.ends_with("tls.tpm")), "{error}");
    }
}

#[cfg(not(all(feature = "tpm", target_os = "linux")))]
#[test]
fn a_build_without_tpm_says_so_and_makes_nothing() {
    let (_folder, state) = directory();
    let state = state.with_tpm(Some(TpmAddress::Device(0)));
    for error in [make_attestation_key(&state).unwrap_err(), make_tls_key(&state).map(drop).unwrap_err()] {
        assert!(error.to_string().contains("built without support for a TPM"), "{error}");
    }
    assert_eq!(holder(&state), None);
    write(&state, super::TPM_TLS_KEY_FILE, WRAPPED);
    assert!(tls_key(&state).map(drop).unwrap_err().to_string().contains("built without support"));
}

#[cfg(all(feature = "tpm", target_os = "linux"))]
#[test]
fn a_tpm_that_is_not_there_is_named_and_no_key_is_made() {
    let (_folder, state) = directory();
    // Nobody listens on the port of another service's own.
    let state = state.with_tpm(Some(TpmAddress::Emulator(1)));
    let said = make_attestation_key(&state).unwrap_err().to_string();
    assert!(said.contains("the TPM at swtpm:port=1 does not answer"), "{said}");
    assert_eq!(holder(&state), None);
}
