//! What is obeyed, and what is not.

use evidence::acts::{Act, ActId, Body, Configuration};
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::leaf::{Chain, Kind, Leaf, commitment};
use evidence::note::{Note, TlogProof};
use evidence::time::Timestamp;

use super::{Fleet, FleetError, Switches};
use crate::anchor::Anchor;
use crate::fake_log::{FakeLog, ORIGIN, path};
use crate::state::StateDirectory;

fn configuration(number: u64) -> Configuration {
    Configuration {
        number,
        percent: 100,
        interval_minutes: 60,
        disabled: vec!["remote-access".parse().unwrap()],
        proxy: None,
        log_level: "info".into(),
    }
}

fn envelope(body: Body, origin: &str) -> Vec<u8> {
    let admin = SecretKey::from_seed(&[9; 32]).unwrap();
    Act::sign(body, origin, ActId::from_bytes([1; 16]), Timestamp(5), &admin).encode()
}

/// A configuration message whose entry is the log's newest.
fn logged(log: &mut FakeLog, kind: Kind, signed: Vec<u8>) -> proto::Config {
    let salt = [3; 32];
    let leaf = Leaf {
        kind,
        received: Timestamp(7),
        commitment: commitment(&salt, &signed),
        chain: Some(Chain { sequence: 0, previous: Digest::ZERO }),
    };
    log.leaves.push(leaf.hash());
    sent(log, &leaf, signed, salt)
}

fn sent(log: &FakeLog, leaf: &Leaf, signed: Vec<u8>, salt: [u8; 32]) -> proto::Config {
    let index = log.leaves.len() - 1;
    let note = Note::parse(log.note().as_bytes()).unwrap();
    let proof = TlogProof { extra: None, index: index as u64, hashes: path(index, &log.leaves), note };
    proto::Config { signed, leaf: leaf.encode(), salt: salt.to_vec(), tlog_proof: proof.encode() }
}

fn verified(log: &FakeLog) -> Anchor {
    Anchor::from_note(log.pinned(), &log.note()).unwrap()
}

#[test]
fn only_what_is_logged_under_the_newest_verified_checkpoint_is_obeyed() {
    let mut log = FakeLog::new(6);
    let before = verified(&log);
    let signed = envelope(Body::Configuration(configuration(1)), ORIGIN);
    let config = logged(&mut log, Kind::CONFIGURATION, signed.clone());
    let fleet = Fleet::logged(config.clone(), &verified(&log)).unwrap();
    assert_eq!(fleet.configuration, configuration(1));
    let not_logged = |config: proto::Config, anchor: &Anchor| {
        matches!(Fleet::logged(config, anchor), Err(FleetError::NotLogged(_)))
    };
    assert!(not_logged(config.clone(), &before), "a checkpoint that was not verified here");
    assert!(not_logged(config.clone(), &Anchor::none(log.pinned())));
    let other = envelope(Body::Configuration(configuration(2)), ORIGIN);
    assert!(not_logged(proto::Config { signed: other, ..config.clone() }, &verified(&log)));
    assert!(not_logged(proto::Config { salt: vec![4; 32], ..config.clone() }, &verified(&log)));
    assert!(not_logged(proto::Config { salt: Vec::new(), ..config.clone() }, &verified(&log)));
    assert!(not_logged(proto::Config { tlog_proof: String::new(), ..config.clone() }, &verified(&log)));
    // The right bytes in an entry that is not a configuration.
    let kind = logged(&mut log, Kind::TOKEN, signed.clone());
    assert!(not_logged(kind, &verified(&log)));
    // An entry that is not in the log.
    let mut forked = FakeLog::new(6);
    forked.key = SecretKey::from_seed(&[43; 32]).unwrap();
    let config = logged(&mut forked, Kind::CONFIGURATION, signed);
    assert!(not_logged(config, &verified(&log)), "another log's key signed it");
}

#[test]
fn another_act_or_another_logs_is_not_obeyed() {
    let mut log = FakeLog::new(3);
    let foreign = envelope(Body::Configuration(configuration(1)), "elsewhere.example/log/1");
    let config = logged(&mut log, Kind::CONFIGURATION, foreign);
    assert!(matches!(Fleet::logged(config, &verified(&log)), Err(FleetError::Act(_))));
    let config = logged(&mut log, Kind::CONFIGURATION, b"{}".to_vec());
    assert!(matches!(Fleet::logged(config, &verified(&log)), Err(FleetError::Act(_))));
}

#[test]
fn an_older_one_never_takes_the_place_of_a_newer_one_and_it_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::new(folder.path().join("state"));
    state.create().unwrap();
    let fleet =
        |number| Fleet::open(envelope(Body::Configuration(configuration(number)), ORIGIN), ORIGIN).unwrap();
    let mut kept = Fleet::read(&state, ORIGIN).unwrap();
    assert_eq!(kept, None);
    assert!(fleet(2).replace(&mut kept, &state).unwrap());
    assert!(!fleet(2).replace(&mut kept, &state).unwrap(), "the same again");
    let error = fleet(1).replace(&mut kept, &state).unwrap_err().to_string();
    assert!(error.contains("number 1") && error.contains("obeyed 2"), "{error}");
    let mut kept = Fleet::read(&state, ORIGIN).unwrap();
    assert_eq!(kept, Some(fleet(2)));
    assert!(fleet(1).replace(&mut kept, &state).is_err(), "after a restart too");
    assert!(fleet(3).replace(&mut kept, &state).unwrap());
    assert_eq!(Fleet::read(&state, "successor.example/log/2").unwrap(), None);
    std::fs::write(state.file(super::FLEET_FILE), b"{").unwrap();
    assert!(Fleet::read(&state, ORIGIN).is_err());
}

#[test]
fn a_control_that_is_switched_off_asks_nothing_and_says_why() {
    struct Asked(std::sync::Mutex<u64>);
    impl probes::Host for Asked {
        fn answer(&self, _: &probes::Question) -> Result<probes::Answer, probes::NoAnswer> {
            *self.0.lock().unwrap() += 1;
            Ok(probes::Answer::Output { status: 1, stdout: Vec::new(), stderr: Vec::new() })
        }
    }
    let all: Vec<_> = probes::PROBES.iter().map(|probe| probe.control.parse().unwrap()).collect();
    let switches = Switches::default();
    switches.set(&all);
    let host = Asked(std::sync::Mutex::default());
    let seen = probes::observe_but(probes::Platform::Linux, &host, &|control| switches.is_off(control));
    let (observations, _) = seen.unwrap();
    assert_eq!(observations.len(), probes::PROBES.len());
    assert_eq!(*host.0.lock().unwrap(), 0);
    for observation in &observations {
        let Some(proto::observation::Outcome::Unavailable(unavailable)) = &observation.outcome else {
            panic!("{observation:?}");
        };
        assert_eq!(unavailable.reason(), proto::Reason::DisabledByConfig);
    }
    switches.set(&all[1..]);
    assert!(!switches.is_off(all[0].as_str()) && switches.is_off(all[1].as_str()));
}
