use std::collections::BTreeMap;

use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::note::{VerifierKey, WitnessKey};
use proptest::prelude::*;

use super::*;

const ORIGIN: &str = "example.org/log/test";

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

/// A policy of witnesses `w0`, `w1`, … by keys of seed 10, 11, …; `quorum` is its last lines.
fn policy(count: u8, quorum: &str) -> WitnessPolicy {
    let mut text = format!("log {}\n", VerifierKey::new(ORIGIN, *key(1).public()).unwrap().vkey());
    for number in 0..count {
        let witness = WitnessKey::new(&name(number), *key(10 + number).public()).unwrap().vkey();
        text += &["witness w", &number.to_string(), " ", &witness, " http://127.0.0.1:1\n"].concat();
    }
    WitnessPolicy::parse(format!("{text}{quorum}\n").as_bytes()).unwrap()
}

fn name(number: u8) -> String {
    format!("witness.example/{number}")
}

fn head(size: u64) -> (Checkpoint, Note) {
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: Digest::of(&size.to_be_bytes()) };
    let note = checkpoint.sign(&key(1)).unwrap();
    (checkpoint, note)
}

fn ask(rounds: &mut Rounds, size: u64) -> Arc<Question> {
    let (checkpoint, note) = head(size);
    rounds.ask(checkpoint, note)
}

/// The line of a witness, signed by the key of `seed`.
fn line(question: &Question, number: u8, seed: u8, seconds: u64) -> Answer {
    let line = question.note.cosignature(&name(number), &key(seed), seconds).unwrap();
    Answer::Lines(line.into_bytes())
}

fn good(question: &Question, number: u8) -> Answer {
    line(question, number, 10 + number, 1000)
}

fn contradiction(size: u64) -> Answer {
    Answer::Contradicted(Contradiction { size, status: 409, body: Vec::new() })
}

#[test]
fn the_quorum_is_waited_for_and_then_a_moment_for_the_others() {
    let mut rounds = Rounds::new(policy(3, "group q 2 w0 w1 w2\nquorum q"));
    let start = Instant::now();
    assert_eq!(rounds.progress(start), Progress::Nothing);
    assert_eq!(rounds.comparison(), Comparison { waiting: 3, agreed: 0 });
    let question = ask(&mut rounds, 5);
    assert_eq!(rounds.take(2, &question, good(&question, 2), start).news, Some(News::Answers));
    assert_eq!(rounds.progress(start), Progress::Missing);
    assert!(rounds.take(0, &question, good(&question, 0), start).is_settled);
    let until = start + STRAGGLERS_WAIT_MAX;
    assert_eq!(rounds.progress(start), Progress::Stragglers(until));
    let Progress::Cosigned(note) = rounds.progress(until) else { panic!("waited for ever") };
    assert_eq!((note.signatures(), rounds.policy().open(&note).unwrap().size), (3, 5));
    // A refusal is an answer: nobody is left to wait for.
    assert!(!rounds.take(1, &question, Answer::Failed("busy".into()), start).is_settled);
    assert!(matches!(rounds.progress(start), Progress::Cosigned(_)));
    assert_eq!(rounds.comparison(), Comparison { waiting: 0, agreed: 2 });
    rounds.close();
    assert_eq!(rounds.progress(until), Progress::Nothing);
    assert!(rounds.standing().satisfied);
}

#[test]
fn lines_that_do_not_hold_are_not_kept() {
    let mut rounds = Rounds::new(policy(2, "group q all w0 w1\nquorum q"));
    let now = Instant::now();
    let question = ask(&mut rounds, 5);
    let other = Question { checkpoint: head(6).0, note: head(6).1, number: 1 };
    let own = |number| match good(&question, number) {
        Answer::Lines(lines) => lines,
        other => panic!("{other:?}"),
    };
    let many: Vec<u8> = own(1).repeat(65);
    for (bad, why) in [
        (line(&question, 0, 99, 1000), "not a cosignature that holds"),
        (line(&question, 1, 11, 1000), "not signed by witness.example/0"),
        (line(&other, 0, 10, 1000), "not a cosignature that holds"),
        (Answer::Lines(Vec::new()), "not a signed note"),
        (Answer::Lines(b"hello".to_vec()), "not a signed note"),
        (Answer::Lines(vec![0xFF; 9]), "not a signed note"),
        (Answer::Lines([own(0), own(0)].concat()), "signed twice"),
        (Answer::Lines(many), "too many signature lines"),
        (Answer::Lines(vec![b'x'; 70_000]), "larger than 64 KiB"),
        (Answer::Lines([b"\n", &own(0)[..]].concat()), "not a signed note"),
    ] {
        let taken = rounds.take(0, &question, bad.clone(), now);
        assert!(!taken.is_settled, "{bad:?}");
        if let Some(News::Fails(said)) = &taken.news {
            assert!(said.contains(why), "{why} is not in {said}");
        }
        assert_eq!(rounds.standing().cosigned, [], "{bad:?}");
    }
    // Lines of others beside its own are left where they are: here 16 of nobody's.
    let mut lines = Vec::new();
    for number in 20..36 {
        lines
            .extend_from_slice(question.note.cosignature(&name(number), &key(number), 1).unwrap().as_bytes());
    }
    lines.extend_from_slice(&own(0));
    assert!(rounds.take(0, &question, Answer::Lines(lines), now).is_settled);
    assert!(rounds.take(1, &question, good(&question, 1), now).is_settled);
    let Progress::Cosigned(note) = rounds.progress(now) else { panic!("it is complete") };
    assert_eq!(note.signatures(), 3);
}

#[test]
fn who_contradicts_ends_the_run_and_is_named() {
    for (size, said) in [(9, "holds a checkpoint of 9 entries"), (5, "two logs have one origin")] {
        let mut rounds = Rounds::new(policy(2, "group q any w0 w1\nquorum q"));
        let now = Instant::now();
        let question = ask(&mut rounds, 5);
        rounds.take(0, &question, good(&question, 0), now);
        let Some(News::Contradicts(reason)) = rounds.take(1, &question, contradiction(size), now).news else {
            panic!("that is news")
        };
        assert!(reason.contains("witness w1 ") && reason.contains(said), "{reason}");
        assert_eq!(rounds.contradiction(), Some(reason.as_str()));
        // The quorum was there: too late.
        assert_eq!(rounds.progress(now + STRAGGLERS_WAIT_MAX), Progress::Nothing);
        assert_eq!(rounds.take(0, &question, contradiction(7), now).news, None, "one reason is enough");
        let later = ask(&mut rounds, 6);
        rounds.take(0, &later, good(&later, 0), now);
        assert_eq!(
            rounds.progress(now + STRAGGLERS_WAIT_MAX),
            Progress::Missing,
            "nothing is taken any more"
        );
    }
}

#[test]
fn a_question_asked_again_keeps_what_an_open_one_has_and_nothing_of_a_closed_one() {
    let mut rounds = Rounds::new(policy(2, "group q all w0 w1\nquorum q"));
    let now = Instant::now();
    let first = ask(&mut rounds, 5);
    rounds.take(0, &first, good(&first, 0), now);
    let again = ask(&mut rounds, 5);
    assert_eq!((first.number, again.number), (1, 2));
    // Late answers to the first are lines about the same checkpoint.
    rounds.take(1, &first, good(&first, 1), now);
    assert!(rounds.standing().satisfied);
    rounds.close();
    let repeated = ask(&mut rounds, 5);
    assert_eq!(rounds.standing().cosigned, [], "fresh ones are wanted");
    rounds.take(1, &first, good(&first, 1), now);
    let newer = ask(&mut rounds, 6);
    rounds.take(0, &repeated, good(&repeated, 0), now);
    assert_eq!(
        (rounds.standing().cosigned.len(), newer.number),
        (0, 4),
        "another checkpoint's lines are not"
    );
}

#[test]
fn people_are_told_what_changes_and_no_more() {
    let mut rounds = Rounds::new(policy(1, "quorum w0"));
    let now = Instant::now();
    let question = ask(&mut rounds, 5);
    let fails = |why: &str| Some(News::Fails(why.to_owned()));
    for (answer, news) in [
        (Answer::Failed("a".into()), fails("a")),
        (Answer::Failed("a".into()), None),
        (Answer::Failed("b".into()), fails("b")),
        (good(&question, 0), Some(News::Answers)),
        (good(&question, 0), None),
        (Answer::Failed("b".into()), fails("b")),
    ] {
        assert_eq!(rounds.take(0, &question, answer, now).news, news);
    }
    assert_eq!(rounds.take(7, &question, good(&question, 0), now).news, None, "there is no such witness");
}

#[test]
fn the_median_moves_with_the_time_and_forgets_the_silent() {
    let mut rounds = Rounds::new(policy(4, "quorum none"));
    let start = Instant::now();
    let question = ask(&mut rounds, 5);
    assert_eq!(rounds.median_ms(start), None);
    for (number, seconds, median) in
        [(0_u8, 1000, 1_000_000), (1, 2000, 1_500_000), (2, 900, 1_000_000), (3, 1 << 62, 1_500_000)]
    {
        rounds.take(number.into(), &question, line(&question, number, 10 + number, seconds), start);
        assert_eq!(rounds.median_ms(start), Some(median), "{number}");
    }
    assert_eq!(rounds.median_ms(start + Duration::from_millis(250)), Some(1_500_250));
    let late = start + TIME_AGE_MAX + Duration::from_secs(1);
    assert_eq!(rounds.median_ms(late), None);
    rounds.take(1, &question, line(&question, 1, 11, 7000), late);
    assert_eq!(rounds.median_ms(late), Some(7_000_000));
}

/// What may come, at any time.
#[derive(Debug, Clone)]
enum Step {
    Ask(u64),
    Close,
    Good(u8, u8),
    Forged(u8, u8),
    Garbage(u8, u8, Vec<u8>),
    Failed(u8, u8),
    Contradicted(u8, u8, u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (place, back) = (0_u8..4, 0_u8..3);
    let both = (place, back);
    let step = prop_oneof![
        3 => (0_u64..3).prop_map(Step::Ask),
        1 => Just(Step::Close),
        8 => both.clone().prop_map(|(place, back)| Step::Good(place, back)),
        1 => both.clone().prop_map(|(place, back)| Step::Forged(place, back)),
        1 => (both.clone(), proptest::collection::vec(any::<u8>(), 0..80))
            .prop_map(|((place, back), bytes)| Step::Garbage(place, back, bytes)),
        2 => both.clone().prop_map(|(place, back)| Step::Failed(place, back)),
        1 => (both, 0_u64..9).prop_map(|((place, back), size)| Step::Contradicted(place, back, size)),
        2 => (0_u64..400).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// Whatever comes in whatever order: what is given out meets the policy and is the checkpoint that was asked about,
    /// no line is there that its witness did not sign, and after a contradiction nothing is given out.
    #[test]
    fn nothing_is_given_out_that_the_quorum_did_not_sign(steps in steps(), quorum in 0_usize..4) {
        let quorum =
            ["quorum w0", "group q 2 w0 w1 w2\nquorum q", "group q all w0 w1 w2\nquorum q", "group a any w0 w1\ngroup q all a w2\nquorum q"]
                [quorum];
        let policy = policy(3, quorum);
        let mut rounds = Rounds::new(policy.clone());
        let mut now = Instant::now();
        let mut questions: Vec<Arc<Question>> = Vec::new();
        let mut size = 1;
        // Who signed which size since it was opened afresh.
        let mut signed: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let (mut contradicted, mut was_open) = (false, false);
        for step in steps {
            let asked = |back: u8| questions.iter().rev().nth(back.into()).cloned();
            match step {
                Step::Ask(grown) => {
                    size += grown;
                    if !was_open || grown > 0 {
                        signed.remove(&size);
                    }
                    was_open = true;
                    questions.push(ask(&mut rounds, size));
                }
                Step::Close => {
                    rounds.close();
                    was_open = false;
                }
                Step::Good(place, back) => {
                    if let Some(question) = asked(back) {
                        let taken = rounds.take(place.into(), &question, good(&question, place), now);
                        prop_assert_eq!(taken.is_settled, place < 3);
                        if place < 3 {
                            signed.entry(question.checkpoint.size).or_default().push(place);
                        }
                    }
                }
                Step::Forged(place, back) => {
                    if let Some(question) = asked(back) {
                        let forged = line(&question, place, 99, 1000);
                        prop_assert!(!rounds.take(place.into(), &question, forged, now).is_settled);
                    }
                }
                Step::Garbage(place, back, bytes) => {
                    if let Some(question) = asked(back) {
                        prop_assert!(!rounds.take(place.into(), &question, Answer::Lines(bytes), now).is_settled);
                    }
                }
                Step::Failed(place, back) => {
                    if let Some(question) = asked(back) {
                        rounds.take(place.into(), &question, Answer::Failed("no".into()), now);
                    }
                }
                Step::Contradicted(place, back, held) => {
                    if let Some(question) = asked(back) {
                        rounds.take(place.into(), &question, contradiction(held), now);
                        (contradicted, was_open) = (true, false);
                    }
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            prop_assert_eq!(rounds.contradiction().is_some(), contradicted);
            let standing = rounds.standing();
            let by_now = signed.get(&size).cloned().unwrap_or_default();
            for (name, _) in &standing.cosigned {
                prop_assert!(by_now.iter().any(|place| format!("w{place}") == *name), "{name} did not sign");
            }
            if let Progress::Cosigned(note) = rounds.progress(now) {
                prop_assert!(!contradicted && was_open);
                let opened = policy.open(&note).unwrap();
                prop_assert_eq!(&opened, &questions.last().unwrap().checkpoint);
                prop_assert!(policy.is_met_by(|place| by_now.contains(&u8::try_from(place).unwrap())));
            }
        }
    }
}
