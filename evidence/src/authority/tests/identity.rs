//! Keys over time, through the gate: roll-out tokens, approvals, renewals, new keys, revocations, merges, authorities.

use super::*;
use crate::acts::{Allows, Approval, Enrolment, KeyChange, NewKey, recovery_digest};
use crate::roster::RosterError;

fn roll_out() -> Log {
    let mut log = Log::begun();
    log.add(Body::Token(roll_out_token(2)), "admin").unwrap();
    log
}

/// An enrolment of `number` by the roll-out token, with or without a listed serial number.
fn by_roll_out(number: u8, serial: Option<&str>) -> Enrolment {
    let token_hash = Digest::of(&[2]);
    let mut act = enrolment_with(number, |transcript| transcript.token_hash = token_hash);
    act.token_hash = token_hash;
    act.serial = serial.map(|serial| Digest::of(serial.as_bytes()));
    act
}

fn enrol(act: &Enrolment) -> Body {
    Body::Enrolment(Box::new(act.clone()))
}

#[test]
fn a_listed_serial_number_enrols_once_and_whoever_is_not_listed_waits_for_a_person() {
    let mut log = roll_out();
    log.add(enrol(&by_roll_out(2, Some("S1"))), "operations").unwrap();
    let twice = log.add(enrol(&by_roll_out(3, Some("S1"))), "operations").unwrap_err();
    assert_eq!(twice, AuthorityError::Roster(RosterError::SerialUsed));
    let unlisted = by_roll_out(3, None);
    let waits = log.add(enrol(&unlisted), "operations").unwrap_err();
    assert_eq!(waits, AuthorityError::Roster(RosterError::NotApproved(request(&unlisted))));
    // An approval is for these keys and this token, and good once.
    log.add(Body::Approval(approval(request(&by_roll_out(4, None)))), "admin").unwrap();
    assert!(log.add(enrol(&unlisted), "operations").is_err());
    log.add(Body::Approval(approval(request(&unlisted))), "admin").unwrap();
    log.add(enrol(&unlisted), "operations").unwrap();
    assert!(log.authority.roster().approval(&request(&unlisted)).unwrap().used.is_some());
    assert_eq!(failed(&mut log, Body::Approval(approval(request(&unlisted))), "admin"), 9);
    log.add(enrol(&by_roll_out(5, Some("S2"))), "operations").unwrap();
    let spent = log.add(enrol(&by_roll_out(6, Some("S3"))), "operations").unwrap_err();
    assert_eq!(spent, AuthorityError::Roster(RosterError::TokenSpent(3)));
}

#[test]
fn a_serial_number_is_no_way_in_where_none_is_listed() {
    let mut log = Log::begun();
    log.add(Body::Token(token(2)), "admin").unwrap();
    let act = Enrolment { serial: Some(Digest::of(b"S")), ..enrolment(2) };
    assert_eq!(
        log.add(enrol(&act), "operations").unwrap_err(),
        AuthorityError::Roster(RosterError::NoSerials)
    );
    log.add(enrol(&enrolment(2)), "operations").unwrap();
}

#[test]
fn a_token_that_asks_for_approval_gets_it_from_an_admin_in_time() {
    let mut log = Log::begun();
    log.add(Body::Token(crate::acts::Token { approve: true, ..token(2) }), "admin").unwrap();
    let act = enrolment(2);
    assert_eq!(failed(&mut log, enrol(&act), "operations"), 9);
    assert_eq!(failed(&mut log, Body::Approval(approval(request(&act))), "analyst"), 8);
    let expired = Approval { expires_at: Timestamp(log.now), ..approval(request(&act)) };
    log.add(Body::Approval(expired), "admin").unwrap();
    assert_eq!(failed(&mut log, enrol(&act), "operations"), 9);
    let of_recovery = Approval { allows: Allows::Recovery, ..approval(request(&act)) };
    assert_eq!(failed(&mut log, Body::Approval(of_recovery), "admin"), 9);
    log.add(Body::Approval(approval(request(&act))), "admin").unwrap();
    log.add(enrol(&act), "operations").unwrap();
}

fn renew(number: u8, generation: u64, recovery: bool) -> Body {
    Body::Renewal(Box::new(renewal(number, generation, recovery)))
}

#[test]
fn renewals_follow_each_other_and_recoveries_end_after_two() {
    let mut log = Log::begun();
    assert_eq!(failed(&mut log, renew(1, 2, false), "operations"), 9);
    log.add(renew(1, 1, false), "operations").unwrap();
    assert_eq!(failed(&mut log, renew(1, 1, false), "operations"), 9);
    log.add(renew(1, 2, true), "operations").unwrap();
    log.add(renew(1, 3, true), "operations").unwrap();
    let instance = renewal(1, 4, true).instance;
    let request = recovery_digest(&instance);
    let waits = log.add(renew(1, 4, true), "operations").unwrap_err();
    assert_eq!(waits, AuthorityError::Roster(RosterError::NotApproved(request)));
    // Renewing with a certificate that has not ended goes on.
    log.add(renew(1, 4, false), "operations").unwrap();
    log.add(Body::Approval(Approval { allows: Allows::Recovery, ..approval(request) }), "admin").unwrap();
    log.add(renew(1, 5, true), "operations").unwrap();
    log.add(renew(1, 6, true), "operations").unwrap();
    assert_eq!(failed(&mut log, renew(1, 7, true), "operations"), 9);
    // The same instance may be approved again.
    log.add(Body::Approval(Approval { allows: Allows::Recovery, ..approval(request) }), "admin").unwrap();
    log.add(renew(1, 7, true), "operations").unwrap();
    let record = log.authority.roster().instance(&instance).unwrap();
    assert_eq!((record.generation, record.certificate), (7, renewal(1, 7, true).certificate));
}

#[test]
fn a_renewal_by_another_key_or_of_another_number_is_refused() {
    let sound = || renewal(1, 1, false);
    for (what, act) in [
        (
            "another's signature",
            crate::acts::Renewal { sig_ed25519: renewal(2, 1, false).sig_ed25519, ..sound() },
        ),
        ("another's transcript", crate::acts::Renewal { device: device(1), ..renewal(2, 1, false) }),
        ("another certificate before", crate::acts::Renewal { previous: Digest::ZERO, ..sound() }),
        ("another number than was signed", crate::acts::Renewal { generation: 1, ..renewal(1, 2, false) }),
        ("another device", crate::acts::Renewal { device: device(2), ..sound() }),
    ] {
        assert_eq!(failed(&mut Log::begun(), Body::Renewal(Box::new(act)), "operations"), 9, "{what}");
    }
}

#[test]
fn after_a_new_key_the_old_one_speaks_no_more() {
    let mut log = Log::begun();
    let act = re_key(1);
    log.add(Body::ReKey(Box::new(act.clone())), "operations").unwrap();
    let roster = log.authority.roster();
    assert_eq!(roster.instance(&act.previous).unwrap().ended, Some(5));
    assert_eq!(roster.instance(&act.instance).unwrap().ended, None);
    assert_eq!(roster.device(&device(1)).unwrap().instances, [act.previous, act.instance]);
    assert_eq!(failed(&mut log, renew(1, 1, false), "operations"), 9);
    assert_eq!(failed(&mut log, Body::ReKey(Box::new(act)), "operations"), 9);
    // Without the old key's signature nobody gets a new one.
    let stolen = crate::acts::ReKey { sig_previous: re_key(1).sig_ed25519, ..re_key(1) };
    assert_eq!(failed(&mut Log::begun(), Body::ReKey(Box::new(stolen)), "operations"), 9);
}

#[test]
fn what_is_revoked_acts_no_more_and_the_last_admin_stays() {
    let mut log = Log::begun();
    let of = |who: &str, role| Body::Revoke(revoke(RevokedOf::Person(person(who, role).person)));
    assert_eq!(failed(&mut log, of("auditor", Role::Auditor), "analyst"), 8);
    let last = Body::Revoke(revoke(RevokedOf::Person(genesis().admin)));
    assert_eq!(failed(&mut log, last, "admin"), 8);
    log.add(Body::Policy(policy()), "analyst").unwrap();
    log.add(of("analyst", Role::Analyst), "admin").unwrap();
    assert_eq!(failed(&mut log, Body::Policy(policy()), "analyst"), 8);
    assert_eq!(failed(&mut log, of("analyst", Role::Analyst), "admin"), 8);
    log.add(Body::Revoke(revoke(RevokedOf::Device(device(1)))), "admin").unwrap();
    assert_eq!(failed(&mut log, renew(1, 1, false), "operations"), 9);
    let roster = log.authority.roster();
    assert_eq!(roster.instance(&enrolment(1).instance).unwrap().ended, Some(7));
    // Its days are still asked for: a stolen laptop without evidence is no gap in the population.
    assert!(roster.device(&device(1)).unwrap().at(Timestamp(log.now)).is_some());
    assert_eq!(failed(&mut log, Body::Revoke(revoke(RevokedOf::Device(device(1)))), "admin"), 8);
    assert_eq!(failed(&mut log, Body::Revoke(revoke(RevokedOf::Device(device(2)))), "admin"), 8);
}

#[test]
fn merged_devices_are_one_and_split_ones_are_two() {
    let mut log = roll_out();
    log.add(enrol(&by_roll_out(2, Some("S1"))), "operations").unwrap();
    assert_eq!(failed(&mut log, Body::Merge(pair(1, 3)), "analyst"), 8);
    log.add(Body::Split(pair(2, 1)), "analyst").unwrap();
    assert_eq!(log.authority.roster().pair(&device(1), &device(2)), Some(false));
    log.add(Body::Merge(pair(1, 2)), "analyst").unwrap();
    let roster = log.authority.roster();
    assert_eq!(roster.pair(&device(2), &device(1)), Some(true));
    assert!(roster.device(&device(2)).unwrap().at(Timestamp(log.now)).is_none());
    assert!(roster.device(&device(1)).unwrap().at(Timestamp(log.now)).is_some());
    assert!(roster.instance(&enrolment(2).instance).unwrap().ended.is_some());
}

fn ca(step: KeyStep, certificate: &str) -> Body {
    Body::KeyChange(Box::new(ca_step(step, certificate)))
}

#[test]
fn an_authority_changes_step_by_step_and_back() {
    let mut log = Log::begun();
    for early in [KeyStep::Activate, KeyStep::Retire, KeyStep::Rollback] {
        assert_eq!(failed(&mut log, ca(early, "agents two"), "operations"), 8);
    }
    assert_eq!(failed(&mut log, ca(KeyStep::Prepare, "agents two"), "admin"), 8);
    assert_eq!(failed(&mut log, ca(KeyStep::Prepare, "agents"), "operations"), 8);
    let trusted = |log: &Log| {
        let trusted = log.authority.roster().authorities().trusted(crate::acts::KeyOf::Agents).unwrap();
        trusted.all().collect::<Vec<_>>()
    };
    let of = |names: &[&str]| names.iter().map(|name| Digest::of(name.as_bytes())).collect::<Vec<_>>();
    log.add(ca(KeyStep::Prepare, "agents two"), "operations").unwrap();
    assert_eq!(trusted(&log), of(&["agents", "agents two"]));
    assert_eq!(failed(&mut log, ca(KeyStep::Prepare, "agents three"), "operations"), 8);
    log.add(ca(KeyStep::Rollback, "agents two"), "operations").unwrap();
    assert_eq!(trusted(&log), of(&["agents"]));
    assert_eq!(failed(&mut log, ca(KeyStep::Prepare, "agents two"), "operations"), 8);
    log.add(ca(KeyStep::Prepare, "agents three"), "operations").unwrap();
    log.add(ca(KeyStep::Activate, "agents three"), "operations").unwrap();
    assert_eq!(trusted(&log), of(&["agents three", "agents"]));
    log.add(ca(KeyStep::Rollback, "agents three"), "operations").unwrap();
    assert_eq!(trusted(&log), of(&["agents", "agents three"]));
    log.add(ca(KeyStep::Retire, "agents three"), "operations").unwrap();
    assert_eq!(trusted(&log), of(&["agents"]));
}

#[test]
fn the_log_key_follows_by_both_signatures() {
    let rotate = |change: KeyChange| Body::KeyChange(Box::new(change));
    let mut log = Log::begun();
    assert_eq!(failed(&mut log, rotate(log_rotation("stranger", "log two")), "operations"), 8);
    let mut unheld = log_rotation("log", "log two");
    if let NewKey::Log { endorsement, possession, .. } = &mut unheld.key {
        possession.clone_from(endorsement);
    }
    assert_eq!(failed(&mut log, rotate(unheld), "operations"), 8);
    log.add(rotate(log_rotation("log", "log two")), "operations").unwrap();
    assert_eq!(failed(&mut log, rotate(log_rotation("log", "log three")), "operations"), 8);
    log.add(rotate(log_rotation("log two", "log three")), "operations").unwrap();
    let keys: Vec<u64> = log.authority.roster().authorities().log_keys().iter().map(|key| key.0).collect();
    assert_eq!(keys, [0, 5, 6]);
    // No key comes back.
    assert_eq!(failed(&mut log, rotate(log_rotation("log three", "log")), "operations"), 8);
}

#[test]
fn who_runs_the_log_is_not_its_auditor() {
    let mut log = Log::begun();
    let by_admin = crate::plan::Plan { auditor_key: key("admin"), ..plan() };
    assert_eq!(failed(&mut log, Body::Plan(Box::new(by_admin)), "analyst"), 8);
    log.add(Body::Plan(Box::new(plan())), "analyst").unwrap();
    assert_eq!(failed(&mut log, Body::Person(person("plan auditor", Role::Analyst)), "admin"), 8);
    log.add(Body::Person(person("plan auditor", Role::Auditor)), "admin").unwrap();
}

#[test]
fn configurations_count_up() {
    let mut log = Log::begun();
    assert_eq!(failed(&mut log, Body::Configuration(configuration(2)), "admin"), 8);
    assert_eq!(failed(&mut log, Body::Configuration(configuration(1)), "analyst"), 8);
    let act = log.add(Body::Configuration(configuration(1)), "admin").unwrap();
    log.add(Body::Configuration(configuration(2)), "admin").unwrap();
    let first = log.authority.configurations().first().unwrap();
    assert_eq!((first.index, first.digest), (5, Digest::of(&act.encode())));
}
