use proptest::prelude::*;

use super::*;
use crate::question::FileKind;

fn header() -> &'static str {
    "platform = \"linux\"\nrelease = \"r\"\norigin = \"documented\"\nsource = \"s\"\n"
}

fn parse(answers: &str) -> Result<Replay, RecordingError> {
    Recording::parse(&format!("{}{answers}", header()))?.replay()
}

#[test]
fn an_answer_has_exactly_one_content() {
    assert!(parse("[[answer]]\nquestion = \"a\"\ntext = \"x\"\n").is_ok());
    for bad in [
        "[[answer]]\nquestion = \"a\"\n",
        "[[answer]]\nquestion = \"a\"\ntext = \"x\"\nlink = \"y\"\n",
        "[[answer]]\nquestion = \"a\"\nhex = \"0\"\n",
        "[[answer]]\nquestion = \"a\"\nmetadata = \"file\"\n",
        "[[answer]]\nquestion = \"a\"\nprocesses = [\"x\"]\n",
    ] {
        assert!(matches!(parse(bad), Err(RecordingError::Answer(_))), "{bad}");
    }
    let twice = "[[answer]]\nquestion = \"a\"\ntext = \"x\"\n[[answer]]\nquestion = \"a\"\ntext = \"y\"\n";
    assert!(matches!(parse(twice), Err(RecordingError::Twice(_))));
    assert!(matches!(
        parse("[[answer]]\nquestion = \"a\"\ntext = \"x\"\nmore = 1\n"),
        Err(RecordingError::Toml(_))
    ));
}

#[test]
fn a_recording_replaces_answers_of_its_base() {
    let base = Recording::parse(&format!(
        "{}[[answer]]\nquestion = \"a\"\ntext = \"1\"\n[[answer]]\nquestion = \"b\"\ntext = \"2\"\n",
        header()
    ))
    .unwrap();
    let text = format!("{}based_on = \"x\"\n[[answer]]\nquestion = \"b\"\ntext = \"3\"\n", header());
    let variant = Recording::parse(&text).unwrap();
    assert!(matches!(variant.replay(), Err(RecordingError::Base(_))));
    let replay = variant.over(base).replay().unwrap();
    assert_eq!(replay.recorded("a"), Some(&Answer::Bytes(b"1".to_vec())));
    assert_eq!(replay.recorded("b"), Some(&Answer::Bytes(b"3".to_vec())));
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let process = (any::<u32>(), any::<u32>(), ".{0,15}", prop::option::of("/.{0,20}"))
        .prop_map(|(pid, parent, name, exe)| Process { pid, parent, name, exe });
    let metadata = (any::<u32>(), 0u32..0o7777, any::<u64>(), any::<i64>(), "/.{0,20}").prop_map(
        |(uid, mode, size_bytes, modified_seconds, path)| {
            Answer::Metadata(Metadata {
                path,
                kind: FileKind::Folder,
                uid,
                gid: uid,
                mode,
                size_bytes,
                modified_seconds,
            })
        },
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Answer::Bytes),
        ".{0,50}".prop_map(|text| Answer::Bytes(text.into_bytes())),
        (any::<u32>(), "(.|\n){0,50}").prop_map(|(status, text)| Answer::Output {
            status,
            stdout: text.clone().into_bytes(),
            stderr: text.into_bytes()
        }),
        prop::collection::vec(".{0,9}", 0..4).prop_map(Answer::Names),
        Just(Answer::TimedOut),
        ".{0,20}".prop_map(Answer::Link),
        prop::collection::vec(process, 0..4).prop_map(Answer::Processes),
        metadata,
    ]
}

proptest! {
    #[test]
    fn what_is_recorded_is_replayed(answer in any_answer()) {
        let question = Question::Read("/a".to_owned());
        let mut answers = Answers::new();
        answers.insert(question.clone(), answer.clone());
        let recording = Recording::of(&answers, Platform::Linux, "r".into(), "s".into(), vec![]);
        let read = Recording::parse(&recording.to_text().unwrap()).unwrap();
        prop_assert_eq!(read.origin, Origin::Recorded);
        prop_assert_eq!(read.replay().unwrap().answer(&question), Ok(answer));
    }
}
