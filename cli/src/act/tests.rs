use evidence::acts::Reveal;

use super::*;

struct At(u64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }
}

fn reveal() -> Body {
    Body::Reveal(Reveal { plan_hash: Digest::of(b"plan"), nonce: Digest::of(b"nonce") })
}

#[test]
fn an_act_file_reads_back_and_holds_its_signature() {
    let key = SecretKey::from_seed(&[5; 32]).unwrap();
    let signed = SignedAct::sign(reveal(), "a.example/log/main", &key, &At(17)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reveal.act.json");
    signed.write(&path).unwrap();
    assert_eq!(SignedAct::read(&path).unwrap(), signed);
    assert_eq!(signed.kind, Kind::REVEAL);
    let (envelope, act) = Act::open(&signed.envelope).unwrap();
    envelope.verify(key.public()).unwrap();
    assert_eq!(act.common.made_at, Timestamp(17));
    assert_eq!(act.common.origin, "a.example/log/main");
    assert_eq!(act.body, reveal());
}

#[test]
fn two_acts_never_share_an_id() {
    let key = SecretKey::from_seed(&[5; 32]).unwrap();
    let sign = || SignedAct::sign(reveal(), "a.example/log/main", &key, &At(17)).unwrap();
    assert_ne!(sign().payload, sign().payload);
}

#[test]
fn a_file_that_is_no_act_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.act.json");
    files::create(&path, "a file", b"{}").unwrap();
    let error = format!("{:#}", SignedAct::read(&path).unwrap_err());
    assert!(error.contains("x.act.json is not an act file"), "{error}");
}

#[test]
fn a_detail_is_named_by_its_hash_under_fresh_randomness() {
    let (a, b) = (Detail::new("lost in Hamburg").unwrap(), Detail::new("lost in Hamburg").unwrap());
    assert_ne!(a.digest(), b.digest());
    assert_eq!(a.digest(), Digest::of(&[a.random.as_slice(), b"lost in Hamburg"].concat()));
}
