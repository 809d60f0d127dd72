use super::*;

fn answers() -> Vec<(u8, Answer)> {
    let process = Process { pid: 7, parent: 1, name: "a".into(), exe: Some("/a".into()) };
    let metadata = Metadata {
        path: "/a b".into(),
        kind: FileKind::File,
        uid: 0,
        gid: 1,
        mode: 0o755,
        size_bytes: 9,
        modified_seconds: 60,
    };
    vec![
        (0, Answer::Bytes(b"x".to_vec())),
        (1, Answer::Output { status: 3, stdout: b"o".to_vec(), stderr: b"".to_vec() }),
        (2, Answer::Names(vec!["n".into()])),
        (3, Answer::Absent),
        (4, Answer::Denied),
        (5, Answer::TimedOut),
        (6, Answer::TooLarge),
        (7, Answer::Failed),
        (8, Answer::Link("t".into())),
        (9, Answer::Processes(vec![process])),
        (10, Answer::Metadata(metadata)),
    ]
}

#[test]
fn first_byte_of_a_raw_answer_is_the_kind_of_the_format() {
    for (kind, answer) in answers() {
        assert_eq!(answer.raw().first(), Some(&kind), "{answer:?}");
    }
}

#[test]
fn raw_bytes_are_as_the_format_says() {
    let raw: Vec<Vec<u8>> = answers().iter().map(|(_, a)| a.raw()).collect();
    assert_eq!(raw[1], b"\x01\0\0\0\x03\0\0\0\x01o\0\0\0\0");
    assert_eq!(raw[2], b"\x02\0\0\0\x01n");
    assert_eq!(raw[9], b"\x09\0\0\0\x07\0\0\0\x01\0\0\0\x01a\x01\0\0\0\x02/a");
    assert_eq!(raw[10], b"\x0afile 0 1 0755 9 60 /a b");
}

#[test]
fn metadata_lines_read_back() {
    for (_, answer) in answers() {
        if let Answer::Metadata(metadata) = answer {
            assert_eq!(Metadata::parse(&metadata.to_string()), Some(metadata));
        }
    }
    assert_eq!(Metadata::parse("file 0 0 0799 1 1 /a"), None);
    assert_eq!(Metadata::parse("file 0 0"), None);
}

#[test]
fn text_without_its_last_line_end_is_not_text() {
    assert_eq!(Answer::Bytes(b"30".to_vec()).whole_text(), None);
    assert_eq!(Answer::Bytes(b"300\n".to_vec()).line(), Some("300"));
    assert_eq!(Answer::Bytes(b"1\n2\n".to_vec()).line(), None);
    assert_eq!(Answer::Bytes(b"\xff\n".to_vec()).whole_text(), None);
    let failed = Answer::Output { status: 1, stdout: b"1\n".to_vec(), stderr: vec![] };
    assert_eq!(failed.whole_text(), None);
}
