//! `secure-boot` on macOS: the level at which the Mac checks what it starts, as device management is told it.
//!
//! One form for Macs with Apple's chips and with the T2; older ones have no such thing. System integrity protection is
//! another fact. A Mac has no TPM, so none is claimed or missed.

use proto::{BootSecurity, Firmware, SecureBoot, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    programs::Program,
    question::Question,
};

/// What device management would be told about the machine's security, in the form of an old property list.
pub(crate) const SECURITY: [&str; 1] = ["QuerySecurityInfo"];
const LEVEL: &str = "SecureBootLevel = ";

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let question = Question::run(Program::Mdmclient, &SECURITY);
    let told = round.ask(&question);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(text) = told.whole_text() else { return unanswered(question, told) };
    // The daemon answers, and the user's agent may answer too: they must say the same.
    let mut levels = text.lines().filter_map(|line| line.trim().strip_prefix(LEVEL)?.strip_suffix(';'));
    let Some(level) = levels.next().filter(|first| levels.all(|other| other == *first)) else {
        return unparsed(question);
    };
    let (enabled, level) = match level {
        "full" => (true, BootSecurity::Full),
        // Anything Apple ever signed.
        "medium" => (true, BootSecurity::Reduced),
        "off" => (false, BootSecurity::Permissive),
        "\"not supported\"" => (false, BootSecurity::Unspecified),
        _ => return unparsed(question),
    };
    Step::Done(Outcome::observed(Control::SecureBoot(SecureBoot {
        firmware: Firmware::Apple.into(),
        enabled: Some(enabled),
        level: level.into(),
        ..SecureBoot::default()
    })))
}
