//! `mdm-enrolment` on macOS, as `profiles status` says it. Any user may ask, and it is not limited to once a day as
//! `profiles show` is.

use proto::{MdmEnrolment, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    programs::Program,
    question::Question,
};

/// What is asked.
pub(crate) const STATUS: [&str; 3] = ["status", "-type", "enrollment"];
/// Longest name of a host, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let question = Question::run(Program::Profiles, &STATUS);
    let status = round.ask(&question);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(text) = status.whole_text() else { return unanswered(question, status) };
    match parse(text) {
        Some(facts) => Step::Done(Outcome::observed(Control::MdmEnrolment(facts))),
        None => unparsed(question),
    }
}

/// Two lines, and a third with the server when there is one; words nobody has seen are no answer.
fn parse(text: &str) -> Option<MdmEnrolment> {
    let (mut automated, mut enrolled, mut server) = (None, None, None);
    for line in text.lines() {
        let (name, value) = line.split_once(": ")?;
        let slot = match name {
            "Enrolled via DEP" => &mut automated,
            "MDM enrollment" => &mut enrolled,
            "MDM server" => &mut server,
            _ => return None,
        };
        slot.replace(value).is_none().then_some(())?;
    }
    let automated = match automated? {
        "Yes" => true,
        "No" => false,
        _ => return None,
    };
    let (enrolled, user_approved) = match enrolled? {
        "Yes (User Approved)" => (true, Some(true)),
        "Yes" => (true, Some(false)),
        "No" => (false, None),
        _ => return None,
    };
    // A server without an enrolment contradicts itself.
    if !enrolled && server.is_some() {
        return None;
    }
    Some(MdmEnrolment {
        enrolled: Some(enrolled),
        user_approved,
        automated: Some(automated),
        service: server.and_then(host).unwrap_or_default(),
        directory_joined: None,
    })
}

/// The host of an address: what follows may be a secret of the device's own.
fn host(address: &str) -> Option<String> {
    let authority = address.strip_prefix("https://")?.split(['/', '?', '#']).next()?;
    let host = if authority.contains('@') { None } else { authority.split(':').next() }?;
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    (!host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(is_host))
        .then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_known_count() {
        let text = "Enrolled via DEP: Yes\nMDM enrollment: Yes (User Approved)\nMDM server: https://MDM.example.com:443/x?key=1\n";
        let facts = parse(text).unwrap();
        assert_eq!(
            (facts.enrolled, facts.automated, facts.user_approved),
            (Some(true), Some(true), Some(true))
        );
        assert_eq!(facts.service, "mdm.example.com");
        assert_eq!(parse("Enrolled via DEP: No\nMDM enrollment: Yes\n").unwrap().user_approved, Some(false));
        for text in [
            "",
            "MDM enrollment: Yes\n",
            "Enrolled via DEP: No\n",
            "Enrolled via DEP: No\nMDM enrollment: Ja\n",
            "Enrolled via DEP: No\nMDM enrollment: No\nMDM server: https://a.example\n",
            "Enrolled via DEP: No\nMDM enrollment: No\nMDM enrollment: Yes\n",
            "Enrolled via DEP: No\nMDM enrollment: Yes\nSomething new: 1\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_is_told_by_its_host_alone() {
        assert_eq!(host("https://mdm.example.com?key=1"), Some("mdm.example.com".to_owned()));
        for address in
            ["https://user:word@mdm.example.com/", "http://mdm.example.com", "https:///x", "https://a b/", ""]
        {
            assert_eq!(host(address), None, "{address}");
        }
    }
}
