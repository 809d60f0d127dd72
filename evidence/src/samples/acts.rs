//! Acts for tests: one of every kind, and a log in which each is admitted.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};

use crate::acts::{
    AccessSummary, Act, ActId, Allows, Approval, Body, Class, Commitment, Configuration, DrawAct,
    DrawnControl, Enrolment, Export, Freeze, FrozenPopulation, Genesis, Group, Head, Heads, Hold, IssuingCas,
    KeyChange, KeyLevel, KeyOf, KeyStep, NewKey, Pair, Person, ReKey, Renewal, Retire, Reveal, Revoke,
    RevokeReason, RevokedOf, Role, Token, Tombstone, TreeHead, log_key_text, re_key_digest, renewal_digest,
    request_digest,
};
use crate::authority::{Authority, AuthorityError};
use crate::draw;
use crate::enrolment::{TlsPublicKey, Transcript};
use crate::ids::{self, DeviceId, Digest, EngagementId, InstanceId, Name, PersonId};
use crate::json::Value;
use crate::keys::{PublicKey, SecretKey};
use crate::leaf::Stream;
use crate::note::{Checkpoint, VerifierKey};
use crate::plan::{Method, Plan, PlanDay, Scope};
use crate::policy::Policy;
use crate::time::{DAY_MS, DayLabel, Timestamp};

/// The log of these acts.
pub(crate) const ORIGIN: &str = "example.com/log/one";
/// Its trust domain.
pub(crate) const DOMAIN: &str = "example.com";
/// First instant of the plan's first day, 2026-06-01.
pub(crate) const START: u64 = 1_780_272_000_000;
/// Every signer: the name is the seed.
pub(crate) const SIGNERS: [&str; 6] =
    ["admin", "analyst", "auditor", "operations", "stranger", "plan auditor"];

pub(crate) fn secret(name: &str) -> SecretKey {
    SecretKey::from_seed(Digest::of(name.as_bytes()).as_bytes()).unwrap()
}

pub(crate) fn key(name: &str) -> PublicKey {
    *secret(name).public()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 16])
}

pub(crate) fn genesis() -> Genesis {
    let digest = |text: &str| Digest::of(text.as_bytes());
    Genesis {
        trust_domain: DOMAIN.into(),
        simulated: false,
        accept_rollback_blindness: true,
        log_key: VerifierKey::new(ORIGIN, key("log")).unwrap(),
        operations_key: key("operations"),
        root_ca: digest("root"),
        issuing_cas: IssuingCas {
            agents: digest("agents"),
            people: digest("people"),
            servers: digest("servers"),
        },
        admin: PersonId::from_bytes([0xad; 16]),
        admin_key: key("admin"),
        admin_tls_key: digest("admin tls"),
        predecessor: None,
    }
}

pub(crate) fn person(who: &str, role: Role) -> Person {
    Person {
        person: PersonId::from_slice(&Digest::of(who.as_bytes()).0[..16]).unwrap(),
        role,
        key: key(who),
        tls_key: Digest::of_parts(&[who.as_bytes(), b" tls"]),
        detail: Digest::of(b"detail"),
        engagements: Vec::new(),
    }
}

pub(crate) fn token(number: u8) -> Token {
    Token {
        token_hash: Digest::of(&[number]),
        class: ids::Class::Laptop,
        group: name("office"),
        expires_at: Timestamp(START + DAY_MS),
        uses: 1,
        approve: false,
        serials: Vec::new(),
    }
}

/// [`token`] for three devices, of which those that its list does not name wait for a person.
pub(crate) fn roll_out_token(number: u8) -> Token {
    Token { uses: 3, approve: false, serials: vec![Digest::of(b"serials")], ..token(number) }
}

/// What an approval of an enrolment names.
pub(crate) fn request(act: &Enrolment) -> Digest {
    let transcript = Transcript::parse(&act.transcript).unwrap();
    request_digest(&transcript.token_hash, &transcript.tls_key, &transcript.attestation_key)
}

pub(crate) fn approval(request: Digest) -> Approval {
    Approval { allows: Allows::Enrolment, request, expires_at: Timestamp(START + DAY_MS) }
}

/// A transcript by new keys of these names, and its two signatures.
fn signed_anew(
    number: u8,
    tls_name: &str,
    attestation: &SecretKey,
    token_hash: Digest,
) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let tls = SigningKey::from_slice(Digest::of(tls_name.as_bytes()).as_bytes()).unwrap();
    let bytes = Transcript {
        trust_domain: DOMAIN.parse().unwrap(),
        enrolment_id: [number; 16],
        nonce: [3; 32],
        exporter: [4; 32],
        token_hash,
        tls_key: TlsPublicKey::from_point(tls.verifying_key().to_sec1_point(false).as_bytes()).unwrap(),
        attestation_key: *attestation.public(),
        facts_commitment: Digest::of(b"facts"),
    }
    .encode();
    let p256: Signature = tls.sign(&bytes);
    let ed25519 = attestation.sign(&bytes).to_vec();
    (bytes, ed25519, p256.to_bytes().to_vec())
}

/// The renewal with this number of the instance of [`enrolment`] `number`.
pub(crate) fn renewal(number: u8, generation: u64, recovery: bool) -> Renewal {
    let instance = InstanceId::from_bytes([number; 16]);
    let certificate = |generation: u64| match generation {
        0 => Digest::of(b"certificate"),
        generation => Digest::of(&generation.to_be_bytes()),
    };
    let attestation = secret(&format!("device {number}"));
    let tls = format!("tls {number} {generation}");
    let (transcript, sig_ed25519, sig_p256) =
        signed_anew(number, &tls, &attestation, renewal_digest(&instance, generation));
    Renewal {
        device: device(number),
        instance,
        recovery,
        generation,
        previous: certificate(generation - 1),
        certificate: certificate(generation),
        transcript,
        sig_ed25519,
        sig_p256,
    }
}

/// A new key of [`device`] `number`: instance `number` + 100.
pub(crate) fn re_key(number: u8) -> ReKey {
    let previous = InstanceId::from_bytes([number; 16]);
    let attestation = secret(&format!("device {number} anew"));
    let (transcript, sig_ed25519, sig_p256) =
        signed_anew(number, &format!("tls {number} anew"), &attestation, re_key_digest(&previous));
    ReKey {
        device: device(number),
        instance: InstanceId::from_bytes([number + 100; 16]),
        previous,
        key_level: KeyLevel::K2,
        attestation_key: *attestation.public(),
        sig_previous: secret(&format!("device {number}")).sign(&transcript).to_vec(),
        transcript,
        sig_ed25519,
        sig_p256,
        certificate: Digest::of(b"certificate anew"),
    }
}

pub(crate) fn revoke(of: RevokedOf) -> Revoke {
    Revoke { of, reason: RevokeReason::Stolen, detail: None }
}

pub(crate) fn group(number: u8, group: &str, effective_at: u64) -> Group {
    Group { device: device(number), group: name(group), effective_at: Timestamp(effective_at) }
}

pub(crate) fn pair(number: u8, other: u8) -> Pair {
    Pair { device: device(number), other: device(other), detail: Some(Digest::of(b"reason")) }
}

/// A step of the agents authority.
pub(crate) fn ca_step(step: KeyStep, certificate: &str) -> KeyChange {
    KeyChange { of: KeyOf::Agents, step, key: NewKey::Certificate(Digest::of(certificate.as_bytes())) }
}

/// The log's key of one name follows that of another.
pub(crate) fn log_rotation(old: &str, new: &str) -> KeyChange {
    let next = VerifierKey::new(ORIGIN, key(new)).unwrap();
    let text = log_key_text(ORIGIN, &next);
    let (endorsement, possession) = (secret(old).sign(&text).to_vec(), secret(new).sign(&text).to_vec());
    let key = NewKey::Log { key: next, endorsement, possession };
    KeyChange { of: KeyOf::Log, step: KeyStep::Rotate, key }
}

pub(crate) fn access_summary() -> AccessSummary {
    AccessSummary {
        person: person("analyst", Role::Analyst).person,
        day: DayLabel::from_days_since_1970(START / DAY_MS),
        device: Some(device(1)),
        calls: vec![("Posture".into(), 2)],
    }
}

pub(crate) fn configuration(number: u64) -> Configuration {
    Configuration {
        number,
        percent: 10,
        interval_minutes: 60,
        disabled: vec![name("edr")],
        proxy: Some("http://proxy.example:3128".into()),
        log_level: "info".into(),
    }
}

/// The enrolment of [`device`] `number` by [`token`] `number`, signed by both its keys.
pub(crate) fn enrolment(number: u8) -> Enrolment {
    enrolment_with(number, |_| {})
}

/// As [`enrolment`], with a change to the transcript before it is signed.
pub(crate) fn enrolment_with(number: u8, change: impl FnOnce(&mut Transcript)) -> Enrolment {
    let attestation = secret(&format!("device {number}"));
    let tls = SigningKey::from_slice(Digest::of_parts(&[b"tls", &[number]]).as_bytes()).unwrap();
    let mut transcript = Transcript {
        trust_domain: DOMAIN.parse().unwrap(),
        enrolment_id: [number; 16],
        nonce: [1; 32],
        exporter: [2; 32],
        token_hash: Digest::of(&[number]),
        tls_key: TlsPublicKey::from_point(tls.verifying_key().to_sec1_point(false).as_bytes()).unwrap(),
        attestation_key: *attestation.public(),
        facts_commitment: Digest::of(b"facts"),
    };
    change(&mut transcript);
    let bytes = transcript.encode();
    let p256: Signature = tls.sign(&bytes);
    Enrolment {
        device: device(number),
        instance: InstanceId::from_bytes([number; 16]),
        class: ids::Class::Laptop,
        group: name("office"),
        attestation_key: *attestation.public(),
        token_hash: Digest::of(&[number]),
        sig_ed25519: attestation.sign(&bytes).to_vec(),
        sig_p256: p256.to_bytes().to_vec(),
        transcript: bytes,
        certificate: Digest::of(b"certificate"),
        key_level: KeyLevel::K0,
        serial: None,
    }
}

pub(crate) fn retire(number: u8, effective_at: u64) -> Retire {
    Retire {
        device: device(number),
        effective_at: Timestamp(effective_at),
        detail: Some(Digest::of(b"reason")),
    }
}

pub(crate) fn class(number: u8, class: ids::Class, effective_at: u64) -> Class {
    Class { device: device(number), class, effective_at: Timestamp(effective_at) }
}

pub(crate) fn policy() -> Policy {
    let text = r#"{"controls":[{"classes":["laptop"],"condition":{"fact":"pending_security","op":"eq","value":0},"grace_minutes":0,"groups":[],"id":"os-patch","mapping":[{"framework":"soc2","ref":"CC6.1","strength":"partial"}],"max_age_minutes":60,"rationale":"r","remedy":"do","severity":"high","sla_minutes":5,"title":"T"}],"policy":"p","title":"P"}"#;
    Policy::parse(Value::parse(text.as_bytes()).unwrap()).unwrap()
}

/// Two days, one control, the whole fleet.
pub(crate) fn plan() -> Plan {
    let day = |number: u64| PlanDay {
        label: DayLabel::from_days_since_1970(START / DAY_MS + number),
        start: Timestamp(START + number * DAY_MS),
    };
    Plan {
        engagement: EngagementId::from_bytes([0xe0; 16]),
        auditor_key: key("plan auditor"),
        controls: vec![name("edr"), name("os-patch")],
        days: vec![day(0), day(1)],
        end: Timestamp(START + 2 * DAY_MS),
        scope: Scope { classes: vec![ids::Class::Laptop], groups: vec![name("office")] },
        method: Method::Consistent,
        sample_size: 20,
        reserves: 5,
        acceptance: 1,
        risk_bp: 500,
        tolerable_bp: 1000,
        expected_bp: 0,
        partial_day: true,
        replace_not_applicable: true,
        supersedes: Some(Digest::of(b"older plan")),
    }
}

/// The nonce that [`commitment`] commits to.
pub(crate) const NONCE: Digest = Digest([9; 32]);

pub(crate) fn commitment(plan_hash: Digest) -> Commitment {
    Commitment {
        plan_hash,
        commitment: draw::commitment(NONCE.as_bytes()),
        checkpoint: Checkpoint { origin: ORIGIN.into(), size: 3, root: Digest::of(b"root") },
    }
}

fn heads() -> Heads {
    let mut heads = Heads::default();
    heads.set(Stream::Roster, Head { entries: 4, last_leaf_hash: Digest::of(b"roster") });
    heads.set(Stream::Operations, Head { entries: 1, last_leaf_hash: Digest::of(b"operations") });
    heads
}

pub(crate) fn freeze(plan_hash: Digest) -> Freeze {
    let population =
        |control: &str| FrozenPopulation { control: name(control), count: 2, sha256: Digest::of(b"units") };
    Freeze {
        plan_hash,
        roster_entries: 4,
        roster_head: Digest::of(b"roster"),
        populations: vec![population("edr"), population("os-patch")],
        heads: heads(),
    }
}

pub(crate) fn reveal(plan_hash: Digest) -> Reveal {
    Reveal { plan_hash, nonce: NONCE }
}

pub(crate) fn draw_act(plan_hash: Digest) -> DrawAct {
    let drawn = |control: &str| DrawnControl {
        control: name(control),
        seed: Digest::of(b"seed"),
        draw_sha256: Digest::of(b"draw"),
    };
    DrawAct { plan_hash, draws: vec![drawn("edr"), drawn("os-patch")] }
}

pub(crate) fn export(plan_hash: Digest) -> Export {
    Export {
        plan_hash,
        manifest_sha256: Digest::of(b"manifest"),
        tsr_sha256: Digest::ZERO,
        checkpoint: TreeHead { size: 12, root: Digest::of(b"root") },
        heads: heads(),
    }
}

/// Erases the quarter before [`START`] of the instance of [`enrolment`].
pub(crate) fn tombstone(number: u8) -> Tombstone {
    let instance = enrolment(number).instance;
    Tombstone {
        rule: name("request"),
        days: 0,
        requested_by: Some(person("admin", Role::Admin).person),
        scopes: vec![crate::erasure::Scope::device(instance, Timestamp(START - 65 * DAY_MS))],
        up_to: 3,
    }
}

/// Keeps the device of [`enrolment`] 1, or lets it go.
pub(crate) fn hold(text: &str, holds: bool) -> Hold {
    let devices = if holds { vec![device(1)] } else { Vec::new() };
    Hold { hold: name(text), holds, devices, detail: Digest::of(b"reason") }
}

/// Bodies with who signs each, in an order in which a log may take them. The plan's are of one plan.
pub(crate) fn every_kind(plan_hash: Digest) -> Vec<(Body, &'static str)> {
    vec![
        (Body::Genesis(genesis()), "operations"),
        (Body::Person(person("analyst", Role::Analyst)), "admin"),
        (Body::Token(token(1)), "admin"),
        (Body::Enrolment(Box::new(enrolment(1))), "operations"),
        (Body::Class(class(1, ids::Class::Desktop, START)), "analyst"),
        (Body::Group(group(1, "field", START)), "analyst"),
        (Body::Token(roll_out_token(2)), "admin"),
        (
            Body::Enrolment(Box::new(Enrolment { serial: Some(Digest::of(b"serial")), ..enrolment(2) })),
            "operations",
        ),
        (Body::Approval(approval(request(&enrolment(3)))), "admin"),
        (
            Body::Person(Person {
                engagements: vec![plan().engagement],
                ..person("second auditor", Role::Auditor)
            }),
            "admin",
        ),
        (Body::Renewal(Box::new(renewal(1, 1, false))), "operations"),
        (Body::ReKey(Box::new(re_key(1))), "operations"),
        (Body::Split(pair(1, 2)), "analyst"),
        (Body::Merge(pair(1, 2)), "analyst"),
        (Body::KeyChange(Box::new(ca_step(KeyStep::Prepare, "agents two"))), "operations"),
        (Body::KeyChange(Box::new(log_rotation("log", "log two"))), "operations"),
        (Body::AccessSummary(access_summary()), "operations"),
        (Body::Configuration(configuration(1)), "admin"),
        (Body::Revoke(revoke(RevokedOf::Device(device(1)))), "analyst"),
        (Body::Revoke(revoke(RevokedOf::Person(person("second auditor", Role::Auditor).person))), "admin"),
        (Body::Retire(retire(1, START + DAY_MS)), "analyst"),
        (Body::Policy(policy()), "analyst"),
        (Body::Plan(Box::new(plan())), "analyst"),
        (Body::Commitment(commitment(plan_hash)), "plan auditor"),
        (Body::Freeze(freeze(plan_hash)), "operations"),
        (Body::Reveal(reveal(plan_hash)), "plan auditor"),
        (Body::Draw(draw_act(plan_hash)), "operations"),
        (Body::Export(export(plan_hash)), "operations"),
        (Body::Tombstone(tombstone(1)), "operations"),
        (Body::Hold(hold("lawsuit", true)), "admin"),
    ]
}

/// A log that grows act by act; ids and indexes count up and a millisecond passes between entries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    pub(crate) authority: Authority,
    pub(crate) index: u64,
    pub(crate) now: u64,
}

impl Log {
    pub(crate) fn empty() -> Self {
        Self { authority: Authority::new(ORIGIN), index: 0, now: START }
    }

    /// Genesis, an analyst, an auditor, and the first token with its device.
    pub(crate) fn begun() -> Self {
        let mut log = Self::empty();
        for (body, signer) in [
            (Body::Genesis(genesis()), "operations"),
            (Body::Person(person("analyst", Role::Analyst)), "admin"),
            (Body::Person(person("auditor", Role::Auditor)), "admin"),
            (Body::Token(token(1)), "admin"),
            (Body::Enrolment(Box::new(enrolment(1))), "operations"),
        ] {
            log.add(body, signer).unwrap();
        }
        log
    }

    /// The envelope that the next entry would hold.
    pub(crate) fn sign(&self, body: Body, signer: &str) -> Vec<u8> {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.index.to_be_bytes());
        Act::sign(body, ORIGIN, ActId::from_bytes(id), Timestamp(self.now), &secret(signer)).encode()
    }

    /// Asks for admission; a refused act must change nothing.
    pub(crate) fn add(&mut self, body: Body, signer: &str) -> Result<Act, AuthorityError> {
        let envelope = self.sign(body.clone(), signer);
        let before = self.authority.clone();
        let done = self.authority.admit(self.index, Timestamp(self.now), body.kind(), &envelope);
        match &done {
            Ok(_) => {
                self.index += 1;
                self.now += 1;
            }
            Err(error) => {
                assert_eq!(self.authority, before, "refused ({error}), and yet it changed something");
            }
        }
        done
    }

    /// Adds [`plan`] and tells its hash.
    pub(crate) fn plan(&mut self, plan: Plan) -> Digest {
        let act = self.add(Body::Plan(Box::new(plan)), "analyst").unwrap();
        Digest::of(&act.encode())
    }
}
