use super::*;

fn entry(minute: u64) -> Entry {
    let answer = Answer::Output { status: 101, stdout: vec![0, 255, 10], stderr: b"W: x\n".to_vec() };
    let boot = Boot { id: "b".to_owned(), minutes: 3 };
    Entry::of(&answer, Digest::of(b"print"), minute, boot).unwrap()
}

#[test]
fn what_was_kept_comes_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers");
    assert_eq!(Kept::read(&path), Kept::default());
    let mut kept = Kept::default();
    kept.insert("run dnf -q".to_owned(), entry(7));
    kept.insert("run dnf".to_owned(), entry(u64::MAX));
    kept.write(&path).unwrap();
    assert_eq!(Kept::read(&path), kept);
    let back = kept.of("run dnf").unwrap().answer();
    assert_eq!(back, Answer::Output { status: 101, stdout: vec![0, 255, 10], stderr: b"W: x\n".to_vec() });
}

#[test]
fn a_right_digest_over_wrong_content_is_refused_and_ends() {
    for content in [
        &b""[..],
        b"tallystick/answers/v2\n",
        b"tallystick/answers/v1\n\xff\xff\xff\xffx",
        b"tallystick/answers/v1\n\0",
    ] {
        let mut bytes = content.to_vec();
        bytes.extend_from_slice(Digest::of(content).as_bytes());
        assert_eq!(Kept::decode(&bytes), None, "{content:?}");
    }
}

#[test]
fn both_limits_hold() {
    let mut kept = Kept::default();
    for minute in 0..20 {
        kept.insert(format!("run {minute}"), entry(minute));
    }
    let left: Vec<u64> = kept.0.values().map(|entry| entry.minute).collect();
    assert_eq!(left.len(), ANSWERS_MAX);
    assert!(left.iter().all(|minute| *minute >= 12), "{left:?}");
    let large = |bytes| Answer::Output { status: 0, stdout: vec![b'x'; bytes], stderr: Vec::new() };
    let of = |answer| Entry::of(&answer, Digest::ZERO, 0, Boot { id: String::new(), minutes: 0 });
    assert!(of(large(ANSWER_BYTES_MAX)).is_some());
    assert!(of(large(ANSWER_BYTES_MAX + 1)).is_none());
}
