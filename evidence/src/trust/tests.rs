//! The trust file: its one form, and what a verifier must not believe.

use proptest::prelude::*;

use super::*;
use crate::ids::Digest;
use crate::samples::acts::{DOMAIN, ORIGIN, key};
use crate::samples::damaged;

fn log_key(name: &str) -> VerifierKey {
    VerifierKey::new(ORIGIN, key(name)).unwrap()
}

fn trust() -> Trust {
    Trust {
        trust_domain: DOMAIN.into(),
        origin: ORIGIN.into(),
        log_keys: vec![log_key("log")],
        witness_policy: Trust::no_witnesses(&log_key("log")),
        checkpoints: vec![
            Checkpoint { origin: ORIGIN.into(), size: 7, root: Digest::of(b"seven") },
            Checkpoint { origin: "example.com/log/zero".into(), size: 8, root: Digest::of(b"eight") },
        ],
        auditor_key: key("auditor"),
        made_by: MadeBy::Auditor,
        accept_simulated: false,
    }
}

/// The member for which a trust file is refused.
fn refused(bytes: &[u8]) -> String {
    match Trust::parse(bytes) {
        Err(JsonError::Member { path, .. }) => path,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn a_trust_file_comes_back_with_or_without_one_final_line_end() {
    let two = vec![log_key("log"), log_key("second log")];
    let lines = format!("log {}\nlog {}\nquorum none\n", two[0].vkey(), two[1].vkey());
    for trust in [
        trust(),
        Trust { made_by: MadeBy::SameHand, accept_simulated: true, checkpoints: vec![], ..trust() },
        Trust { log_keys: two, witness_policy: lines, ..trust() },
    ] {
        let bytes = trust.encode();
        assert_eq!(Trust::parse(&bytes), Ok(trust.clone()));
        assert_eq!(Trust::parse(&[&bytes[..], b"\n"].concat()), Ok(trust.clone()));
        assert!(Trust::parse(&[&bytes[..], b"\n\n"].concat()).is_err());
        assert!(Trust::parse(&[b"\n", &bytes[..]].concat()).is_err());
    }
}

#[test]
fn members_that_contradict_each_other_are_refused() {
    let other = VerifierKey::new("example.com/log/two", key("log")).unwrap();
    let (one, two) = (log_key("log"), log_key("second log"));
    let lines = |keys: &[&VerifierKey]| -> String {
        keys.iter().fold(String::new(), |lines, key| lines + "log " + &key.vkey() + "\n")
    };
    for (member, trust) in [
        ("trust_domain", Trust { trust_domain: "Example.com".into(), ..trust() }),
        ("trust_domain", Trust { trust_domain: String::new(), ..trust() }),
        ("origin", Trust { trust_domain: "example.co".into(), ..trust() }),
        ("origin", Trust { trust_domain: "example.org".into(), ..trust() }),
        ("log_keys", Trust { log_keys: vec![], ..trust() }),
        ("log_keys", Trust { log_keys: vec![other], ..trust() }),
        ("log_keys", Trust { log_keys: vec![one.clone(), one.clone()], ..trust() }),
        ("witness_policy", Trust { log_keys: vec![one.clone(), two.clone()], ..trust() }),
        (
            "witness_policy",
            Trust {
                witness_policy: lines(&[&two, &one]) + "quorum none\n",
                log_keys: vec![one.clone(), two.clone()],
                ..trust()
            },
        ),
        ("witness_policy", Trust { witness_policy: String::new(), ..trust() }),
        ("witness_policy", Trust { witness_policy: "quorum none\n".into(), ..trust() }),
        ("witness_policy", Trust { witness_policy: lines(&[&one]), ..trust() }),
        ("witness_policy", Trust { witness_policy: lines(&[&one]) + "quorum none", ..trust() }),
        ("witness_policy", Trust { witness_policy: lines(&[&one]) + "quorum all\n", ..trust() }),
        (
            "witness_policy",
            Trust {
                witness_policy: lines(&[&one]) + "witness w example.com+00000000+AQ==\nquorum w\n",
                ..trust()
            },
        ),
    ] {
        assert_eq!(refused(&trust.encode()), member, "{trust:?}");
    }
}

#[test]
fn words_and_members_that_are_not_the_formats_are_refused() {
    let sound = String::from_utf8(trust().encode()).unwrap();
    let weak = format!("01{}", "00".repeat(31));
    for (from, to, member) in [
        ("tallystick/trust/v1", "tallystick/trust/v2", "format"),
        (r#""made_by":"auditor""#, r#""made_by":"operator""#, "made_by"),
        (r#""simulated":"refuse""#, r#""simulated":"maybe""#, "simulated"),
        (&key("auditor").hex(), weak.as_str(), "auditor_key"),
        (&key("auditor").hex(), "", "auditor_key"),
        (r#""size":7"#, r#""size":-7"#, "checkpoints[0].size"),
        (r#""size":8"#, r#""size":8,"tint":1"#, "checkpoints[1].tint"),
        (
            r#""origin":"example.com/log/one","simulated""#,
            r#""origin":"example.com/audit/one","simulated""#,
            "origin",
        ),
        (r#","witness_policy""#, r#","wishes":1,"witness_policy""#, "wishes"),
    ] {
        let changed = sound.replacen(from, to, 1);
        let changed = if from.contains("\"origin\"") { sound.replace(from, to) } else { changed };
        assert_ne!(changed, sound, "{from}");
        assert_eq!(refused(changed.as_bytes()), member, "{to}");
    }
    assert!(matches!(Trust::parse(b""), Err(JsonError::Syntax(_))));
    assert!(Trust::parse(sound.replace(':', ": ").as_bytes()).is_err());
}

#[test]
fn only_a_checkpoint_of_this_log_is_pinned() {
    let head = TreeHead { size: 7, root: Digest::of(b"seven") };
    assert_eq!(trust().pinned(7), Some(head));
    assert_eq!((trust().pinned(8), trust().pinned(0)), (None, None));
}

proptest! {
    #[test]
    fn damage_is_refused_or_is_another_file(bytes in damaged(trust().encode())) {
        if let Ok(read) = Trust::parse(&bytes) {
            let plain = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            prop_assert_eq!(&read.encode(), plain);
        }
    }
}
