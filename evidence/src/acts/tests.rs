//! Every kind of act: it comes back from its bytes, and what is wrong in it is named by its path.

use proptest::prelude::*;

use super::*;
use crate::ids::Digest;
use crate::samples::acts::{ORIGIN, every_kind, secret};
use crate::samples::damaged;

fn acts() -> Vec<Act> {
    every_kind(Digest::of(b"plan"))
        .into_iter()
        .zip(1_u8..)
        .map(|((body, signer), number)| Act {
            common: Common {
                origin: ORIGIN.into(),
                id: ActId::from_bytes([number; 16]),
                made_at: Timestamp(u64::from(number)),
                signer: secret(signer).public().id(),
            },
            body,
        })
        .collect()
}

fn members(act: &Act) -> std::collections::BTreeMap<String, Value> {
    match Value::parse(&act.encode()).unwrap() {
        Value::Object(members) => members,
        other => panic!("{other:?}"),
    }
}

/// The path of the member that a payload is refused for.
fn refused(payload: &Value) -> String {
    match Act::parse(&payload.to_bytes()) {
        Err(ActError::Json(JsonError::Member { path, .. })) => path,
        other => panic!("{}: {other:?}", payload.encode()),
    }
}

#[test]
fn every_kind_comes_back_from_its_bytes() {
    let acts = acts();
    assert_eq!(acts.len(), 30);
    for act in acts {
        let bytes = act.encode();
        assert_eq!(Act::parse(&bytes), Ok(act.clone()));
        assert_eq!(Act::parse(&bytes).unwrap().encode(), bytes);
        assert_eq!(members(&act)["act"], Value::String(act.body.kind().name().unwrap().to_owned()));
    }
}

#[test]
fn the_payload_of_a_retirement_is_this_text() {
    let device = "d-aeaqcaibaeaqcaibaeaqcaibae";
    let act = acts().into_iter().find(|act| matches!(act.body, Body::Retire(_))).unwrap();
    let text = format!(
        "{{\"act\":\"retire\",\"detail\":[\"{}\"],\"device\":\"{device}\",\"effective_at\":\"1780358400000\",\
         \"id\":\"15151515151515151515151515151515\",\"made_at\":\"21\",\"origin\":\"example.com/log/one\",\
         \"signer\":\"{}\",\"version\":1}}",
        Digest::of(b"reason"),
        secret("analyst").public().id(),
    );
    assert_eq!(String::from_utf8(act.encode()).unwrap(), text);
}

#[test]
fn a_member_too_many_or_too_few_is_named() {
    for act in acts() {
        let sound = members(&act);
        let mut more = sound.clone();
        more.insert("note".into(), Value::String("x".into()));
        assert_eq!(refused(&Value::Object(more)), "note");
        for key in sound.keys() {
            let mut fewer = sound.clone();
            fewer.remove(key);
            assert_eq!(refused(&Value::Object(fewer)), *key, "{}", act.body.kind());
        }
    }
}

#[test]
fn a_value_of_another_type_is_named() {
    for act in acts() {
        let sound = members(&act);
        for (key, value) in &sound {
            // Three of the four types are wrong for any member, -1 is out of every range.
            for other in [
                Value::Integer(-1),
                Value::String("?".into()),
                Value::Array(vec![Value::Integer(-1)]),
                Value::Object([("?".to_owned(), Value::Integer(1))].into()),
            ] {
                // Any text is good for these: who reads them compares.
                let any_text = ["origin", "title", "trust_domain"].contains(&key.as_str());
                if any_text && matches!(other, Value::String(_)) {
                    continue;
                }
                let mut changed = sound.clone();
                changed.insert(key.clone(), other.clone());
                match Act::parse(&Value::Object(changed).to_bytes()) {
                    Err(ActError::Unknown(act)) => assert_eq!((key.as_str(), act.as_str()), ("act", "?")),
                    Err(ActError::Json(JsonError::Member { path, .. })) => assert!(
                        path == *key
                            || path.starts_with(&format!("{key}."))
                            || path.starts_with(&format!("{key}[")),
                        "{}: {key} {value:?} -> {other:?} was refused for {path}",
                        act.body.kind()
                    ),
                    done => panic!("{}: {key} {value:?} -> {other:?}: {done:?}", act.body.kind()),
                }
            }
        }
    }
}

#[test]
fn nested_members_are_held_to_their_form_too() {
    for (kind, outer, inner) in [
        ("genesis", "admin", "key"),
        ("genesis", "issuing_cas", "people"),
        ("commitment", "checkpoint", "size"),
        ("plan", "scope", "groups"),
        ("export", "checkpoint", "root"),
    ] {
        let act = acts().into_iter().find(|act| act.body.kind().name() == Some(kind)).unwrap();
        let sound = members(&act);
        let Value::Object(nested) = &sound[outer] else { panic!("{outer} is no object") };
        let with = |change: &dyn Fn(&mut std::collections::BTreeMap<String, Value>)| {
            let (mut sound, mut nested) = (sound.clone(), nested.clone());
            change(&mut nested);
            sound.insert(outer.into(), Value::Object(nested));
            refused(&Value::Object(sound))
        };
        assert_eq!(with(&|nested| drop(nested.remove(inner))), format!("{outer}.{inner}"));
        assert_eq!(with(&|nested| drop(nested.insert("x".into(), Value::Integer(0)))), format!("{outer}.x"));
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let h64 = |text: &str| Value::String(text.repeat(32));
    let text = |text: &str| Value::String(text.into());
    for (kind, key, value) in [
        ("genesis", "version", Value::Integer(2)),
        ("genesis", "simulated", Value::Integer(2)),
        ("genesis", "log_vkey", text("example.com/log/one+00000000+AQ==")),
        // The identity point and an encoding that is no point of the curve.
        ("genesis", "operations_key", Value::String(format!("01{}", "00".repeat(31)))),
        ("person", "key", Value::String(format!("02{}", "00".repeat(31)))),
        ("person", "role", text("Admin")),
        ("person", "person", text("d-aeaqcaibaeaqcaibaeaqcaibae")),
        ("person", "detail", h64("AB")),
        ("person", "made_at", text("01")),
        ("person", "made_at", text("9007199254740992")),
        ("person", "id", text("0606")),
        ("person", "id", h64("A")),
        ("token", "uses", Value::Integer(0)),
        // Version 1 says one use, and version 2 only what version 1 cannot.
        ("token", "uses", Value::Integer(2)),
        ("retire", "version", Value::Integer(2)),
        ("approval", "allows", text("everything")),
        ("revoke", "device", Value::Array(vec![text("p-aeaqcaibaeaqcaibaeaqcaibae")])),
        ("revoke", "person", Value::Array(vec![text("p-aeaqcaibaeaqcaibaeaqcaibae")])),
        ("revoke", "reason", text("bored")),
        ("merge", "other", text("d-aeaqcaibaeaqcaibaeaqcaibae")),
        ("key-change", "step", text("rotate")),
        ("key-change", "of", text("roots")),
        ("re-key", "sig_previous", text("AAAA")),
        ("renewal", "recovery", Value::Integer(2)),
        ("access-summary", "calls", Value::Array(Vec::new())),
        ("configuration", "percent", Value::Integer(101)),
        ("configuration", "interval_minutes", Value::Integer(4)),
        ("configuration", "log_level", text("trace")),
        ("configuration", "number", Value::Integer(0)),
        ("configuration", "proxy", Value::Array(vec![text("")])),
        ("token", "class", text("toaster")),
        ("token", "group", text("-office")),
        ("enrolment", "key_level", text("k4")),
        ("enrolment", "sig_p256", text("AAAA")),
        ("enrolment", "sig_ed25519", text("")),
        ("enrolment", "transcript", text("AA=")),
        ("enrolment", "predecessor", Value::Array(vec![text("x")])),
        ("commitment", "predecessor", Value::Array(vec![text("x")])),
        ("retire", "detail", Value::Array(vec![h64("ab"), h64("cd")])),
        ("retire", "effective_at", text("-1")),
        ("reveal", "nonce", h64("a")),
        ("freeze", "heads", Value::Array(Vec::new())),
        ("tombstone", "scopes", Value::Array(Vec::new())),
        ("tombstone", "requested_by", Value::Array(vec![h64("ab")])),
        ("tombstone", "rule", text("")),
        ("hold", "devices", Value::Array(vec![text("d-aeaqcaibaeaqcaibaeaqcaibae"); 2])),
        // What ends a hold names no devices.
        ("hold", "holds", Value::Integer(0)),
    ] {
        let act = acts().into_iter().find(|act| act.body.kind().name() == Some(kind)).unwrap();
        let mut changed = members(&act);
        changed.insert(key.into(), value);
        let path = if (kind, key) == ("hold", "holds") { "devices" } else { key };
        assert_eq!(refused(&Value::Object(changed)), path, "{kind}");
    }
}

#[test]
fn heads_name_streams_one_to_four_and_no_hash_of_nothing() {
    let act = acts().into_iter().find(|act| matches!(act.body, Body::Export(_))).unwrap();
    let sound = String::from_utf8(act.encode()).unwrap();
    let zeros = "0".repeat(64);
    for (from, to, path) in [
        (r#""stream":2"#, r#""stream":3"#, "heads[1].stream"),
        (r#""entries":4"#, r#""entries":0"#, "heads[0].last_leaf_hash"),
        (r#""entries":0"#, r#""entries":1"#, "heads[1].last_leaf_hash"),
    ] {
        assert!(sound.contains(from) && sound.contains(&zeros));
        let payload = Value::parse(sound.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!(refused(&payload), path);
    }
}

#[test]
fn the_envelope_names_the_signer_and_the_kind_the_act() {
    for act in acts() {
        let (kind, key) = (act.body.kind(), secret("any"));
        let envelope = Act::sign(act.body.clone(), ORIGIN, act.common.id.clone(), act.common.made_at, &key);
        let (opened, read) = Act::open_as(&envelope.encode(), kind).unwrap();
        assert_eq!((opened.verify(key.public()), &read.body), (Ok(()), &act.body));
        let other = if kind == Kind::DRAW { Kind::PLAN } else { Kind::DRAW };
        assert!(matches!(Act::open_as(&envelope.encode(), other), Err(ActError::Kind { .. })));
        let forged = ActEnvelope { keyid: secret("other").public().id(), ..envelope };
        assert!(matches!(Act::open(&forged.encode()), Err(ActError::Signer { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damage_is_refused_or_is_another_act((act, bytes) in prop::sample::select(acts())
        .prop_flat_map(|act| damaged(act.encode()).prop_map(move |bytes| (act.clone(), bytes))))
    {
        if let Ok(read) = Act::parse(&bytes) {
            prop_assert_eq!(&read.encode(), &bytes);
            prop_assert_eq!(read == act, bytes == act.encode());
        }
    }
}
