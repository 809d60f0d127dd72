//! `device-identity` on macOS: what the platform's one entry in the device tree says.
//!
//! The host's name is not asked for: macOS makes it of the owner's.

use proto::IdentifierKind;

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::Step,
    identity,
    macos::plists::{self, Value},
    programs::Program,
    question::Question,
};

/// The entry with serial number and UUID.
pub(crate) const PLATFORM: [&str; 6] = ["-a", "-r", "-d", "1", "-c", "IOPlatformExpertDevice"];

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let question = Question::run(Program::Ioreg, &PLATFORM);
    let platform = round.ask(&question);
    if let Some(step) = round.pending() {
        return step;
    }
    if platform.whole_text().is_none() {
        return unanswered(question, platform);
    }
    let list = plists::of(platform);
    let Some([only]) = list.as_ref().and_then(Value::array) else { return unparsed(question) };
    let Some(entry) = only.dict() else { return unparsed(question) };
    let text = |name: &str| entry.get(name).and_then(Value::text);
    // Apple's processors tell the maker as bytes that end in a zero.
    let maker = match entry.get("manufacturer") {
        Some(Value::Data(bytes)) => {
            bytes.strip_suffix(&[0]).and_then(|bytes| std::str::from_utf8(bytes).ok())
        }
        other => other.and_then(Value::text),
    };
    let identifiers = vec![
        identity::uuid(text("IOPlatformUUID")),
        identity::serial(IdentifierKind::SystemSerial, text("IOPlatformSerialNumber")),
        identity::name(IdentifierKind::Vendor, maker),
    ];
    identity::observed(identifiers).map_or_else(|| unparsed(question), Step::Done)
}
