//! Who may do what: every signer against every act, every step of a ceremony against every state of it.
//!
//! [`Log::add`] compares the authority before and after: a refused act that changes anything fails the test.

use proptest::prelude::*;

use super::*;
use crate::acts::{ActError, Genesis, Hold, KeyStep, Person, Revoke, RevokedOf, Tombstone};
use crate::erasure::Scope;
use crate::ids::Name;
use crate::samples::acts::*;

mod identity;

fn commit(hash: Digest) -> Body {
    Body::Commitment(commitment(hash))
}

/// The steps of a ceremony, in order, with their signers.
fn steps(hash: Digest) -> [(Body, &'static str); 5] {
    [
        (commit(hash), "plan auditor"),
        (Body::Freeze(freeze(hash)), "operations"),
        (Body::Reveal(reveal(hash)), "plan auditor"),
        (Body::Draw(draw_act(hash)), "operations"),
        (Body::Export(export(hash)), "operations"),
    ]
}

/// The numbered check that an act fails.
fn failed(log: &mut Log, body: Body, signer: &str) -> u8 {
    log.add(body, signer).unwrap_err().check()
}

#[test]
fn every_signer_against_every_act() {
    let who_may = |kind: &Kind| -> &[&str] {
        match *kind {
            Kind::PERSON | Kind::TOKEN | Kind::HOLD | Kind::APPROVAL | Kind::CONFIGURATION => &["admin"],
            Kind::RETIRE
            | Kind::REVOKE
            | Kind::CLASS
            | Kind::GROUP
            | Kind::MERGE
            | Kind::SPLIT
            | Kind::POLICY
            | Kind::PLAN => &["analyst", "admin"],
            Kind::COMMITMENT | Kind::REVEAL => &["plan auditor"],
            _ => &["operations"],
        }
    };
    let mut log = Log::empty();
    let mut tried = 0;
    // The plan's hash holds the index of the plan, so the later bodies are made when it is known.
    let mut hash = Digest::ZERO;
    for position in 0..every_kind(hash).len() {
        let (body, _) = every_kind(hash).swap_remove(position);
        let kind = body.kind();
        let of_person = matches!(body, Body::Revoke(Revoke { of: RevokedOf::Person(_), .. }));
        let may = if of_person { &["admin"] } else { who_may(&kind) };
        for signer in SIGNERS {
            let mut asked = log.clone();
            if may.contains(&signer) {
                assert_eq!(asked.add(body.clone(), signer).unwrap().body, body, "{signer} signs {kind}");
            } else {
                let expected = if kind == Kind::GENESIS { 7 } else { 8 };
                assert_eq!(failed(&mut asked, body.clone(), signer), expected, "{signer} signs {kind}");
            }
            tried += 1;
        }
        let act = log.add(body, may[0]).unwrap();
        if kind == Kind::PERSON && log.authority.roster().persons().count() == 2 {
            log.add(Body::Person(person("auditor", Role::Auditor)), "admin").unwrap();
        }
        if kind == Kind::PLAN {
            hash = Digest::of(&act.encode());
        }
    }
    assert_eq!(tried, 30 * SIGNERS.len());
    let ceremony = log.authority.ceremony(&hash).unwrap();
    assert_eq!((ceremony.plan_index, ceremony.exports.len()), (23, 1));
    assert_eq!(ceremony.commitment.as_ref().unwrap().received, Timestamp(START + 24));
    assert_eq!(log.authority.policies().len(), 1);
    assert_eq!(log.authority.ceremonies().count(), 1);
}

#[test]
fn an_admin_may_what_an_analyst_may_and_a_person_may_be_the_auditor_of_a_plan() {
    let mut log = Log::begun();
    let hash = log.plan(Plan { auditor_key: key("auditor"), ..plan() });
    assert_eq!(failed(&mut log, commit(hash), "admin"), 8);
    assert_eq!(failed(&mut log, commit(hash), "plan auditor"), 8);
    log.add(commit(hash), "auditor").unwrap();
}

#[test]
fn nobody_signs_before_being_admitted() {
    let mut log = Log::begun();
    let stranger = log.add(Body::Policy(policy()), "stranger").unwrap_err();
    assert_eq!(stranger, AuthorityError::Stranger(key("stranger").id()));
    log.add(Body::Person(person("stranger", Role::Analyst)), "admin").unwrap();
    log.add(Body::Policy(policy()), "stranger").unwrap();
    assert!(matches!(
        log.add(Body::Token(token(2)), "stranger"),
        Err(AuthorityError::Role { role: Role::Analyst, act: "token", needed: "an admin" })
    ));
}

#[test]
fn each_step_of_a_ceremony_is_due_once_and_in_its_order() {
    let mut log = Log::begun();
    let hash = log.plan(plan());
    for done in 0..=5 {
        for (number, (body, signer)) in steps(hash).into_iter().enumerate() {
            let mut asked = log.clone();
            // A set may be exported again and again.
            if number == done || (done == 5 && number == 4) {
                asked.add(body, signer).unwrap();
            } else {
                let error = asked.add(body, signer).unwrap_err();
                assert!(
                    matches!(error, AuthorityError::Ceremony { .. }),
                    "step {number} after {done}: {error}"
                );
                assert_eq!(error.check(), 11);
            }
        }
        if let Some((body, signer)) = steps(hash).into_iter().nth(done) {
            log.add(body, signer).unwrap();
        }
    }
    let ceremony = log.authority.ceremony(&hash).unwrap();
    let indexes = [
        ceremony.plan_index,
        ceremony.commitment.as_ref().unwrap().index,
        ceremony.freeze.as_ref().unwrap().index,
        ceremony.reveal.as_ref().unwrap().index,
        ceremony.draw.as_ref().unwrap().index,
        ceremony.exports[0].index,
    ];
    assert_eq!(indexes, [5, 6, 7, 8, 9, 10]);
    assert_eq!(Digest::of(&ceremony.plan_payload), hash);
}

#[test]
fn ceremonies_of_two_plans_do_not_meet() {
    let mut log = Log::begun();
    let (one, two) = (log.plan(plan()), log.plan(plan()));
    assert_ne!(one, two, "the same plan twice has two ids");
    for (body, signer) in steps(one) {
        log.add(body, signer).unwrap();
    }
    assert_eq!(failed(&mut log, Body::Draw(draw_act(two)), "operations"), 11);
    log.add(commit(two), "plan auditor").unwrap();
    assert_eq!(log.authority.ceremony(&two).unwrap().freeze, None);
}

#[test]
fn only_the_committed_nonce_is_revealed() {
    let mut log = Log::begun();
    let hash = log.plan(plan());
    for (body, signer) in steps(hash).into_iter().take(2) {
        log.add(body, signer).unwrap();
    }
    let mut other = NONCE;
    other.0[31] ^= 1;
    let error = log.add(Body::Reveal(Reveal { nonce: other, ..reveal(hash) }), "plan auditor").unwrap_err();
    assert!(error.to_string().contains("not the committed one"), "{error}");
    log.add(Body::Reveal(reveal(hash)), "plan auditor").unwrap();
}

#[test]
fn a_step_of_no_plan_is_refused() {
    let mut log = Log::begun();
    log.plan(plan());
    let nowhere = Digest::of(b"no plan");
    for (body, signer) in steps(nowhere) {
        assert_eq!(log.add(body, signer), Err(AuthorityError::NoPlan(nowhere)));
    }
    assert_eq!(AuthorityError::NoPlan(nowhere).check(), 8);
}

#[test]
fn an_id_is_used_once_and_by_any_stream() {
    let mut log = Log::begun();
    let envelope = log.sign(Body::Policy(policy()), "analyst");
    let admit =
        |log: &mut Log, index| log.authority.admit(index, Timestamp(log.now), Kind::POLICY, &envelope);
    let id = admit(&mut log, 5).unwrap().common.id;
    let before = log.authority.clone();
    assert_eq!(admit(&mut log, 6), Err(AuthorityError::Repeated(id)));
    // The next act in the same log carries the same id, being made at the same index.
    let error = log.add(Body::Plan(Box::new(plan())), "analyst").unwrap_err();
    assert!(matches!(error, AuthorityError::Repeated(_)) && error.check() == 6);
    assert_eq!(log.authority, before);
}

#[test]
fn a_refused_act_does_not_use_up_its_id() {
    let mut log = Log::begun();
    assert_eq!(failed(&mut log, Body::Policy(policy()), "stranger"), 8);
    log.add(Body::Policy(policy()), "analyst").unwrap();
}

#[test]
fn acts_of_other_logs_kinds_or_bytes_are_refused() {
    let mut log = Log::begun();
    let before = log.authority.clone();
    let foreign = Act::sign(
        Body::Policy(policy()),
        "example.com/log/two",
        ActId::from_bytes([7; 16]),
        Timestamp(START),
        &secret("analyst"),
    );
    let mut forged = ActEnvelope::parse(&log.sign(Body::Policy(policy()), "analyst")).unwrap();
    forged.signature[0] ^= 1;
    let sound = log.sign(Body::Policy(policy()), "analyst");
    let mut spaced = sound.clone();
    spaced.push(b'\n');
    let mut admit = |kind, bytes: &[u8]| log.authority.admit(9, Timestamp(START), kind, bytes).unwrap_err();
    assert!(matches!(admit(Kind::POLICY, &foreign.encode()), AuthorityError::Origin { .. }));
    assert!(matches!(admit(Kind::POLICY, &forged.encode()), AuthorityError::Signature(_)));
    assert!(matches!(admit(Kind::PLAN, &sound), AuthorityError::Act(ActError::Kind { .. })));
    assert!(matches!(admit(Kind::POLICY, &spaced), AuthorityError::Act(_)));
    assert!(matches!(admit(Kind::POLICY, b""), AuthorityError::Act(_)));
    for (kind, bytes) in [(Kind::POLICY, &forged.encode()), (Kind::PLAN, &sound), (Kind::POLICY, &spaced)] {
        assert_eq!(admit(kind, bytes).check(), 6);
    }
    assert_eq!(log.authority, before);
}

#[test]
fn a_log_begins_with_its_one_genesis() {
    let mut log = Log::empty();
    for (body, signer) in every_kind(Digest::ZERO).into_iter().skip(1) {
        assert_eq!(log.add(body, signer), Err(AuthorityError::Genesis));
    }
    let late = Log { index: 1, ..log.clone() }.add(Body::Genesis(genesis()), "operations");
    assert_eq!(late, Err(AuthorityError::Genesis));
    log.add(Body::Genesis(genesis()), "operations").unwrap();
    let again = log.add(Body::Genesis(genesis()), "operations").unwrap_err();
    assert_eq!((again.check(), again), (7, AuthorityError::Genesis));
}

#[test]
fn a_genesis_fits_itself_and_its_log() {
    let log_key = |origin: &str| crate::note::VerifierKey::new(origin, key("log")).unwrap();
    for (check, genesis) in [
        (7, Genesis { trust_domain: "example.org".into(), ..genesis() }),
        (7, Genesis { trust_domain: "example.co".into(), ..genesis() }),
        (7, Genesis { trust_domain: "example.com/log".into(), ..genesis() }),
        (7, Genesis { simulated: true, ..genesis() }),
        (7, Genesis { log_key: log_key("example.com/log/two"), ..genesis() }),
        (8, Genesis { admin_key: key("operations"), ..genesis() }),
        (8, Genesis { admin_key: key("log"), ..genesis() }),
    ] {
        assert_eq!(
            failed(&mut Log::empty(), Body::Genesis(genesis.clone()), "operations"),
            check,
            "{genesis:?}"
        );
    }
    let origin = "example.com/log/1/simulated";
    let simulated = Genesis { simulated: true, log_key: log_key(origin), ..genesis() };
    let id = ActId::from_bytes([1; 16]);
    let envelope =
        Act::sign(Body::Genesis(simulated), origin, id, Timestamp(START), &secret("operations")).encode();
    Authority::new(origin).admit(0, Timestamp(START), Kind::GENESIS, &envelope).unwrap();
}

#[test]
fn persons_and_their_keys_are_admitted_once() {
    let mut log = Log::begun();
    let new = || person("new", Role::Analyst);
    let device_tls = Transcript::parse(&enrolment(1).transcript).unwrap().tls_key.id();
    for (what, person) in [
        ("person", Person { person: person("analyst", Role::Admin).person, ..new() }),
        ("admin's person", Person { person: genesis().admin, ..new() }),
        ("key", Person { key: key("analyst"), ..new() }),
        ("admin's key", Person { key: key("admin"), ..new() }),
        ("operations key", Person { key: key("operations"), ..new() }),
        ("log key", Person { key: key("log"), ..new() }),
        ("device's key", Person { key: key("device 1"), ..new() }),
        ("TLS key", Person { tls_key: person("auditor", Role::Admin).tls_key, ..new() }),
        ("admin's TLS key", Person { tls_key: genesis().admin_tls_key, ..new() }),
        ("device's TLS key", Person { tls_key: device_tls, ..new() }),
    ] {
        assert_eq!(failed(&mut log, Body::Person(person), "admin"), 8, "{what}");
    }
    log.add(Body::Person(new()), "admin").unwrap();
    assert_eq!(log.authority.roster().persons().count(), 4);
}

#[test]
fn an_enrolment_is_its_transcripts_and_its_tokens() {
    let log = || {
        let mut log = Log::begun();
        log.add(Body::Token(token(2)), "admin").unwrap();
        log
    };
    let new = || enrolment(2);
    let name = |text: &str| text.parse::<Name>().unwrap();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[40] ^= 1;
        bytes
    };
    let old = Transcript::parse(&enrolment(1).transcript).unwrap();
    for (what, enrolment) in [
        ("signature", crate::acts::Enrolment { sig_ed25519: flipped(&new().sig_ed25519), ..new() }),
        ("TLS signature", crate::acts::Enrolment { sig_p256: flipped(&new().sig_p256), ..new() }),
        ("transcript", crate::acts::Enrolment { transcript: flipped(&new().transcript), ..new() }),
        ("key", crate::acts::Enrolment { attestation_key: key("device 1"), ..new() }),
        ("domain", enrolment_with(2, |t| t.trust_domain = "example.org".parse().unwrap())),
        ("token of the transcript", enrolment_with(2, |t| t.token_hash = Digest::of(&[1]))),
        ("token", crate::acts::Enrolment { token_hash: Digest::of(&[1]), ..new() }),
        ("unknown token", enrolment(3)),
        ("used token", crate::acts::Enrolment { device: device(9), ..enrolment(1) }),
        ("class", crate::acts::Enrolment { class: crate::ids::Class::Server, ..new() }),
        ("group", crate::acts::Enrolment { group: name("field"), ..new() }),
        ("device", crate::acts::Enrolment { device: device(1), ..new() }),
        ("instance", crate::acts::Enrolment { instance: enrolment(1).instance, ..new() }),
        ("a TLS key it does not hold", enrolment_with(2, |t| t.tls_key = old.tls_key)),
    ] {
        assert_eq!(failed(&mut log(), Body::Enrolment(Box::new(enrolment)), "operations"), 9, "{what}");
    }
    let mut log = log();
    log.add(Body::Enrolment(Box::new(new())), "operations").unwrap();
    assert_eq!(log.authority.device_of(&new().instance), Some(device(2)));
    assert_eq!(failed(&mut log, Body::Token(token(2)), "admin"), 9);
}

#[test]
fn changes_are_of_devices_that_were_enrolled() {
    let mut log = Log::begun();
    assert_eq!(failed(&mut log, Body::Retire(retire(2, START)), "analyst"), 8);
    assert_eq!(failed(&mut log, Body::Class(class(2, crate::ids::Class::Vm, START)), "analyst"), 8);
}

#[test]
fn the_gate_is_for_streams_one_to_three_and_for_what_erases_and_holds() {
    let kinds = (0..5).flat_map(|stream| (0..16).filter_map(move |number| Kind::new(stream, number)));
    let open: Vec<Kind> = kinds.filter(|kind| !is_gated(*kind) && kind.stream != Stream::Device).collect();
    let names: Vec<_> = open.iter().filter_map(|kind| kind.name()).collect();
    assert_eq!(names, ["import", "outage", "detail"]);
    assert!(!is_gated(Kind::ATTESTATION) && !is_gated(Kind::DEVICE_DETAIL));
}

#[test]
fn what_is_held_young_or_erased_is_not_erased() {
    let mut log = Log::begun();
    let erase = |change: &dyn Fn(&mut Tombstone)| {
        let mut act = tombstone(1);
        change(&mut act);
        Body::Tombstone(act)
    };
    // A quarter that is not over, an instance nobody enrolled, entries to come.
    let refused = [
        erase(&|act| act.scopes = vec![Scope::device(enrolment(1).instance, Timestamp(START))]),
        erase(&|act| act.scopes = vec![Scope::device(enrolment(2).instance, Timestamp(0))]),
        erase(&|act| act.up_to = 6),
    ];
    for body in refused {
        assert_eq!(failed(&mut log, body, "operations"), 16);
    }
    log.add(Body::Hold(hold("lawsuit", true)), "admin").unwrap();
    assert_eq!(failed(&mut log, Body::Hold(hold("lawsuit", true)), "admin"), 16);
    let error = log.add(erase(&|_| ()), "operations").unwrap_err();
    assert!(error.to_string().contains("hold lawsuit (entry 5)"), "{error}");
    let all = Hold { devices: Vec::new(), ..hold("everything", true) };
    log.add(Body::Hold(all), "admin").unwrap();
    log.add(Body::Hold(hold("lawsuit", false)), "admin").unwrap();
    assert_eq!(failed(&mut log, Body::Hold(hold("lawsuit", false)), "admin"), 16);
    let error = log.add(erase(&|_| ()), "operations").unwrap_err();
    assert!(error.to_string().contains("hold everything (entry 6)"), "{error}");
    log.add(Body::Hold(hold("everything", false)), "admin").unwrap();
    assert_eq!(failed(&mut log, Body::Hold(hold("everything", true)), "admin"), 16);
    log.add(erase(&|_| ()), "operations").unwrap();
    assert_eq!(failed(&mut log, erase(&|_| ()), "operations"), 16);
    let scopes: Vec<_> = log.authority.erasures().scopes().map(|(scope, index)| (*scope, index)).collect();
    assert_eq!(scopes, [(tombstone(1).scopes[0], 9)]);
    let elsewhere = Hold { devices: vec![device(2)], ..hold("other", true) };
    assert_eq!(failed(&mut log, Body::Hold(elsewhere), "admin"), 16);
}

/// Any act, good or bad, by anybody.
fn attempt() -> impl Strategy<Value = (u8, prop::sample::Index, &'static str)> {
    (0..29_u8, any::<prop::sample::Index>(), prop::sample::select(SIGNERS.to_vec()))
}

fn body(number: u8, pick: u8, hash: Digest) -> Body {
    let wrong = Digest::of(&[pick]);
    match number {
        0 => Body::Token(token(pick % 4)),
        1 => Body::Enrolment(Box::new(enrolment(pick % 4))),
        2 => Body::Retire(retire(pick % 4, START + u64::from(pick))),
        3 => Body::Class(class(pick % 4, crate::ids::Class::Vm, START)),
        4 => Body::Person(person(SIGNERS[usize::from(pick) % SIGNERS.len()], Role::Analyst)),
        5 => Body::Policy(policy()),
        6 => Body::Plan(Box::new(plan())),
        7 => Body::Reveal(Reveal { nonce: wrong, ..reveal(hash) }),
        8 => Body::Genesis(genesis()),
        14 => Body::Tombstone(tombstone(pick % 4)),
        15 => Body::Hold(hold("one", pick.is_multiple_of(2))),
        16 => Body::Hold(Hold { devices: Vec::new(), ..hold("two", pick.is_multiple_of(2)) }),
        17 => Body::Group(group(pick % 4, "field", START)),
        18 => Body::Renewal(Box::new(renewal(pick % 4, 1 + u64::from(pick) % 3, pick.is_multiple_of(2)))),
        19 => Body::ReKey(Box::new(re_key(pick % 4))),
        20 => Body::Merge(pair(pick % 4, 9)),
        21 => Body::Split(pair(pick % 4, 1)),
        22 => Body::KeyChange(Box::new(ca_step(KeyStep::ALL[usize::from(pick) % 4], "agents two"))),
        23 => Body::KeyChange(Box::new(log_rotation("log", "log two"))),
        24 => Body::Approval(approval(request(&enrolment(pick % 4)))),
        25 => Body::Revoke(revoke(RevokedOf::Device(device(pick % 4)))),
        26 => Body::Revoke(revoke(RevokedOf::Person(person("analyst", Role::Analyst).person))),
        27 => Body::AccessSummary(access_summary()),
        28 => Body::Configuration(configuration(1 + u64::from(pick) % 2)),
        n => steps(hash).into_iter().nth(usize::from(n) - 9).unwrap().0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn refusals_change_nothing_and_what_was_admitted_folds_again(
        attempts in prop::collection::vec(attempt(), 1..40)
    ) {
        let mut log = Log::begun();
        let hash = log.plan(plan());
        let mut replayed = log.clone();
        for (number, pick, signer) in attempts {
            let body = body(number, u8::try_from(pick.index(256)).unwrap(), hash);
            let admitted = log.add(body.clone(), signer);
            // Half of the random signers may not; the other try is by whoever may.
            let again = [signer, "admin", "operations", "plan auditor"];
            let done = match admitted {
                Ok(act) => Some((act, signer)),
                Err(_) => again.into_iter().find_map(|by| Some((log.add(body.clone(), by).ok()?, by))),
            };
            if let Some((act, by)) = done {
                prop_assert_eq!(&replayed.add(body, by).unwrap(), &act);
            }
        }
        prop_assert_eq!(log, replayed);
    }
}
