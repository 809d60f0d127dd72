//! Cosignatures and witness policies: ours and `sigsum`, another's crate, give the same answer to the same bytes.
//!
//! Sigsum's tree heads are checkpoints of origin `sigsum.org/v1/tree/<key hash>`, its cosignatures are tlog-cosignature v1,
//! and its policies are those of tlog-policy with keys in hex.

use evidence::ids::Digest;
use evidence::json::{decode_base64, encode_base64};
use evidence::keys::{PublicKey, SecretKey};
use evidence::merkle::{leaf_hash, node_hash};
use evidence::note::{Checkpoint, Note, VerifierKey, WitnessKey};
use evidence::witness_policy::WitnessPolicy;
use proptest::prelude::*;
use sigsum::{Hash, Policy, SigsumSignature};

/// Witnesses of a policy; one more, whom no policy names, cosigns now and then.
const WITNESSES: u8 = 5;
const MESSAGE: [u8; 32] = [3; 32];
/// Bytes of a cosignature line: key id, seconds, signature.
const LINE_BYTES: usize = 76;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn witness(number: u8) -> (String, SecretKey) {
    (format!("w{number}"), secret(100 + number))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn key_hash(key: &PublicKey) -> Digest {
    Digest::of(key.as_bytes())
}

/// The key id of a vkey.
fn key_id(vkey: &str) -> [u8; 4] {
    unhex(vkey.split('+').nth(1).unwrap())
}

fn line(name: &str, bytes: &[u8]) -> String {
    format!("— {name} {}\n", encode_base64(bytes))
}

/// A policy in both forms; `groups` are sizes with thresholds (0: any, 1: all, else a number), over what no group before has
/// taken, and `quorum` picks from all names.
fn policies(groups: &[(usize, usize)], quorum: Option<usize>) -> (String, String) {
    let log = VerifierKey::new(&origin(), *secret(1).public()).unwrap().vkey();
    let (mut ours, mut theirs) =
        (format!("log {log}\n"), format!("log {}\n", hex(secret(1).public().as_bytes())));
    let mut names = Vec::new();
    for (name, key) in (0..WITNESSES).map(witness) {
        ours += &format!("witness {name} {}\n", WitnessKey::new(&name, *key.public()).unwrap().vkey());
        theirs += &format!("witness {name} {}\n", hex(key.public().as_bytes()));
        names.push(name);
    }
    let mut free = 0;
    for (number, (size, threshold)) in groups.iter().enumerate() {
        let members: Vec<String> = names[free..].iter().take(*size).cloned().collect();
        if members.is_empty() {
            break;
        }
        free += members.len();
        let least = match threshold {
            0 => "any".to_owned(),
            1 => "all".to_owned(),
            number => (number % members.len() + 1).to_string(),
        };
        let group = format!("group g{number} {least} {}\n", members.join(" "));
        (ours, theirs) = (ours + &group, theirs + &group);
        names.push(format!("g{number}"));
    }
    let quorum = quorum.map_or("none", |quorum| &names[quorum % names.len()]);
    let quorum = format!("quorum {quorum}\n");
    (ours + &quorum, theirs + &quorum)
}

fn origin() -> String {
    format!("sigsum.org/v1/tree/{}", key_hash(secret(1).public()).hex())
}

/// A checkpoint over a leaf of Sigsum's with these raw cosignatures (witness, key id ‖ seconds ‖ signature): our note, and
/// Sigsum's proof.
fn both(other: Digest, cosigned: &[(u8, Vec<u8>)]) -> (Note, String) {
    let submitter = secret(2);
    let checksum = Digest::of(&MESSAGE);
    let signature = submitter.sign(&[b"sigsum.org/v1/tree-leaf\0", checksum.as_bytes().as_slice()].concat());
    let submitter = key_hash(submitter.public());
    let leaf = leaf_hash(&[checksum.as_bytes().as_slice(), &signature, submitter.as_bytes()].concat());
    let checkpoint = Checkpoint { origin: origin(), size: 2, root: node_hash(&leaf, &other) };
    let note = checkpoint.sign(&secret(1)).unwrap();
    let log = secret(1).sign(checkpoint.text().as_bytes());
    let mut proof = format!(
        "version=2\nlog={}\nleaf={} {}\n\nsize=2\nroot_hash={}\nsignature={}\n",
        key_hash(secret(1).public()).hex(),
        submitter.hex(),
        hex(&signature),
        checkpoint.root.hex(),
        hex(&log)
    );
    let mut text = note.encode();
    for (number, raw) in cosigned {
        let (name, key) = witness(*number);
        let seconds = u64::from_be_bytes(raw[4..12].try_into().unwrap());
        let (hash, signature) = (key_hash(key.public()).hex(), hex(&raw[12..]));
        proof += &format!("cosignature={hash} {seconds} {signature}\n");
        text += &line(&name, raw);
    }
    proof += &format!("\nleaf_index=0\nnode_hash={}\n", other.hex());
    (Note::parse(text.as_bytes()).unwrap(), proof)
}

/// A good cosignature of a witness, raw.
fn cosignature(other: Digest, number: u8, seconds: u64) -> Vec<u8> {
    let (name, key) = witness(number);
    let line = both(other, &[]).0.cosignature(&name, &key, seconds).unwrap();
    decode_base64(line.trim_end().rsplit(' ').next().unwrap()).unwrap()
}

fn theirs(policy: &str, proof: &str) -> bool {
    let policy = Policy::parse(policy).unwrap();
    let signature = SigsumSignature::from_ascii(proof).unwrap();
    let signers = [(*secret(2).public().as_bytes()).into()];
    sigsum::verify(&MESSAGE.into(), &signature, &signers, &policy).is_ok()
}

fn ours(policy: &str, note: &Note) -> bool {
    WitnessPolicy::parse(policy.as_bytes()).unwrap().open(note).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whoever cosigns, under whatever groups, and with a flipped bit or none.
    #[test]
    fn a_quorum_is_a_quorum(
        groups in prop::collection::vec((1_usize..5, 0_usize..5), 0..4),
        quorum in prop::option::weighted(0.9, 0_usize..16),
        cosigned in prop::collection::btree_map(0..=WITNESSES, 0_u64..1 << 40, 0..=usize::from(WITNESSES) + 1),
        flipped in prop::option::weighted(0.2, (any::<prop::sample::Index>(), 4..LINE_BYTES, 0_u8..8)),
        other in any::<[u8; 32]>().prop_map(Digest),
    ) {
        let mut cosigned: Vec<(u8, Vec<u8>)> =
            cosigned.into_iter().map(|(number, seconds)| (number, cosignature(other, number, seconds))).collect();
        if let (Some((place, byte, bit)), false) = (flipped, cosigned.is_empty()) {
            let place = place.index(cosigned.len());
            cosigned[place].1[byte] ^= 1 << bit;
        }
        let (note, proof) = both(other, &cosigned);
        let (our_policy, their_policy) = policies(&groups, quorum);
        prop_assert_eq!(ours(&our_policy, &note), theirs(&their_policy, &proof), "{}{}", our_policy, proof);
    }
}

#[test]
fn both_answers_occur() {
    let other = Digest([9; 32]);
    let (our_policy, their_policy) = policies(&[(3, 3), (2, 1)], Some(6));
    assert!(our_policy.ends_with("group g0 1 w0 w1 w2\ngroup g1 all w3 w4\nquorum g1\n"), "{our_policy}");
    for (who, met) in [(&[3, 4][..], true), (&[3], false), (&[0, 1, 2, 3, 5], false), (&[0, 3, 4, 5], true)] {
        let cosigned: Vec<_> = who.iter().map(|number| (*number, cosignature(other, *number, 7))).collect();
        let (note, proof) = both(other, &cosigned);
        assert_eq!((ours(&our_policy, &note), theirs(&their_policy, &proof)), (met, met), "{who:?}");
    }
}

/// Policies that are none. Where the answers differ, ours refuses, for a reason of tlog-policy that is named.
#[test]
fn what_is_no_policy_to_sigsum_is_none_to_us() {
    let (good, theirs) = policies(&[(2, 1)], Some(5));
    let change = |from: &str, to: &str| [good.replace(from, to), theirs.replace(from, to)];
    for (case, [our_text, their_text], sigsum_takes_it) in [
        ("as it is", change("", ""), true),
        ("no quorum", change("quorum g0\n", ""), false),
        ("two quorums", change("quorum g0\n", "quorum g0\nquorum none\n"), false),
        ("an unknown quorum", change("quorum g0", "quorum g7"), false),
        ("an unknown member", change("all w0 w1", "all w0 w9"), false),
        ("a group without members", change("all w0 w1", "all"), false),
        ("a name twice", change("group g0", "group w0"), false),
        ("an unknown word", change("group g0", "band g0"), false),
        ("no threshold", change("all w0", "some w0"), false),
        // A group that nobody can meet, or everybody; a member that counts twice; lines that end in nothing.
        ("more than all", change("all w0 w1", "3 w0 w1"), true),
        ("nobody is enough", change("all w0 w1", "0 w0 w1"), true),
        ("a member twice", change("all w0 w1", "2 w0 w0"), true),
        ("no last LF", [good.trim_end().to_owned(), theirs.trim_end().to_owned()], true),
    ] {
        let is_ours = WitnessPolicy::parse(our_text.as_bytes()).is_ok();
        assert_eq!(Policy::parse(&their_text).is_ok(), sigsum_takes_it, "{case}");
        assert_eq!(is_ours, case == "as it is", "{case}");
    }
}

/// A tree head of a public test log, with the signatures of witnesses that other people's programs made; from the
/// documentation of `sigsum`.
const REAL: &str = "\
log=1643169b32bef33a3f54f8a353b87c475d19b6223cbb106390d10a29978e1cba
size=381382
root_hash=901fefc6f1d978d2c2bedb82d448755bcdc7e8626e67ac7ee80873771be9b667
signature=8a8bf1fca60d1344fb6e2106e8f8906af833d3d75a21fe8d3af72be459f7a11f2ae6606ec6344a13b851cd454b3d281a2b1ae47732f7a8d6afbcc0134d1a2d00
";

/// Its cosignatures: hash of the witness's key, seconds, signature.
const REAL_COSIGNATURES: [&str; 8] = [
    "1c997261f16e6e81d13f420900a2542a4b6a049c2d996324ee5d82a90ca3360c 1770193051 a1ee1182b265204499cbef3ae59f3ea228b928b3cbda8817a4ed5a12776823e9ad8ef1ce986b9b98d9954f1798ec4315c1820704600a231c69038ccc9726d202",
    "49c4cd6124b7c572f3354d854d50b2a4b057a750f786cf03103c09de339c4ea3 1770193051 aaf642e81a54399777180f238573d74878b68c7b645d8011583621405bb450b4e7887fc76502a8142c493d64e3ed3e556d82dad1706411082e58805f64fa9d02",
    "70b861a010f25030de6ff6a5267e0b951e70c04b20ba4a3ce41e7fba7b9b7dfc 1770193051 f5953f406f5fd97d9c9d1328b00b07bf434a5eb76d8da359aeda98c414de29ca1ced1872971ea0f137508a7bb05c7d322548409425677af96433706319bc0801",
    "86b5414ae57f45c2953a074640bb5bedebad023925d4dc91a31de1350b710089 1770193051 3434b4646904714f4983c8e7e976a45332711f10012b19fbeb5549b6c0c04fb4ed52feed2da829354623c52b22b90093776034a8d57d660f9ff27a118f5bf801",
    "c1d2d6935c2fb43bef395792b1f3c1dfe4072d4c6cadd05e0cc90b28d7141ed3 1770193051 f0dce1bcdda3a2826479d62e6afedbe9ec06e8f990ae59d8cefa84d9a6ee68c12c2820fb00e1dbdc30044b16c7695a9d1047cec4788dc757f698d34ebaec4305",
    "d960fcff859a34d677343e4789c6843e897c9ff195ea7140a6ef382566df3b65 1770193051 b44c41f75566850003f7f655a6dc7bb38bb980e8e2c383871e29883805d3adec7782a08388b9386d9718380a4bb6900043e2b46080cff0fa75a500c36ef9df0a",
    "e4a6a1e4657d8d7a187cc0c20ed51055d88c72f340d29534939aee32d86b4021 1770193051 70697b4a6b07e79e49d0a8e41fd7450a593ee9df11da6244cebe4b0c15c8e52f28ad3931b95a806fc7f16b4ad90197971ddc087434c7985b8b3a0223c9fa3603",
    "42351ad474b29c04187fd0c8c7670656386f323f02e9a4ef0a0055ec061ecac8 1770193051 6610e5cf4ead2062d9783fbc19d2bae65eded35335495ad0cf0386277ed2d51854ced64efa21a6db0a398fdfb6761aa7d5659e54950a060d167fbdcb7b5ece05",
];

#[test]
fn signatures_of_witnesses_in_the_world_hold() {
    let field = |name: &str| {
        let line = REAL.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default()
    };
    let policy = &*sigsum::policy::SIGSUM_TEST_2025_3;
    let log: [u8; 32] = unhex(field("log"));
    let key = policy.logs().find(|known| Hash::new(&known.pubkey) == log.into()).unwrap().pubkey;
    let public = |key: sigsum::PublicKey| PublicKey::from_slice(&<[u8; 32]>::from(key)).unwrap();
    let origin = format!("sigsum.org/v1/tree/{}", field("log"));
    let log_key = VerifierKey::new(&origin, public(key)).unwrap();
    let root = Digest(unhex(field("root_hash")));
    let checkpoint = Checkpoint { origin: origin.clone(), size: field("size").parse().unwrap(), root };
    let log_line = line(&origin, &[&key_id(&log_key.vkey())[..], &unhex::<64>(field("signature"))].concat());
    let (mut lines, mut text, mut names) = (Vec::new(), format!("log {}\n", log_key.vkey()), Vec::new());
    for cosigned in REAL_COSIGNATURES {
        let [hash, seconds, signature] = cosigned.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let Some(witness) = policy.get_witness_by_keyhash(&unhex::<32>(hash).into()) else { continue };
        let name = witness.name.clone();
        let witness = WitnessKey::new(&name, public(witness.pubkey)).unwrap();
        let seconds: u64 = seconds.parse().unwrap();
        let raw = [&key_id(&witness.vkey())[..], &seconds.to_be_bytes(), &unhex::<64>(signature)].concat();
        lines.push((name.clone(), raw));
        text += &format!("witness {name} {}\n", witness.vkey());
        names.push(name);
    }
    assert_eq!(names.len(), 8, "{names:?}");
    let text = format!("{text}group all-of-them all {}\nquorum all-of-them\n", names.join(" "));
    let rules = WitnessPolicy::parse(text.as_bytes()).unwrap();
    let note = |lines: &[(String, Vec<u8>)]| {
        let cosigned: String = lines.iter().map(|(name, raw)| line(name, raw)).collect();
        Note::parse(format!("{}\n{log_line}{cosigned}", checkpoint.text()).as_bytes()).unwrap()
    };
    let whole = note(&lines);
    assert_eq!(rules.open(&whole).unwrap(), checkpoint);
    assert_eq!(rules.standing(&whole).unwrap().cosigned[0].1, 1_770_193_051);
    for place in 0..lines.len() {
        for byte in [4, 11, 12, 75] {
            let mut bad = lines.clone();
            bad[place].1[byte] ^= 1;
            assert!(rules.open(&note(&bad)).is_err(), "{place} {byte}");
        }
    }
}
