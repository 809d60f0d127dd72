use super::*;

#[test]
fn a_refusal_is_a_sentence_with_the_next_step() {
    let refusal = Refusal::of(&Status::failed_precondition("freeze is not due: no nonce is committed"));
    assert_eq!(
        refusal.to_string(),
        "the collector refused: freeze is not due: no nonce is committed. `tallystick audit list`, `devices` \
         and `log checkpoint` show how things stand."
    );
    assert!(refusal.is_certain());
}

#[test]
fn a_lost_connection_leaves_open_whether_the_act_was_taken() {
    for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Unknown, Code::Internal, Code::Cancelled] {
        assert!(!Refusal::of(&Status::new(code, "lost")).is_certain(), "{code:?}");
    }
    let text = Refusal::of(&Status::unavailable("lost")).to_string();
    assert!(text.contains("is not known"), "{text}");
}

#[test]
fn an_empty_message_is_replaced_and_a_hostile_one_cleaned() {
    assert!(!Refusal::of(&Status::new(Code::NotFound, "")).message.is_empty());
    assert!(!Refusal::of(&Status::not_found("a\u{1b}[2Jb")).to_string().contains('\u{1b}'));
}

#[test]
fn what_is_missing_is_named() {
    let options = Options { profile: None, key: None, passphrase_file: None, json: false };
    assert!(options.read_key().unwrap_err().to_string().contains("--key"));
    assert!(options.read_profile().unwrap_err().to_string().contains("--profile"));
}
