//! What this device says of itself at its enrolment: host name and identity, and nothing of what controls look at.

use evidence::newcomer::Newcomer;
use probes::{Answers, Host, Platform};
use proto::facts::Control;

/// The control whose facts go into the detail of an enrolment.
const IDENTITY: &str = "device-identity";

/// Looks at what an inventory knows a machine by. What could not be looked at is left out: the enrolment goes on, and a
/// person may have to approve it.
pub fn look(host_name: &str, host: &dyn Host) -> Newcomer {
    let probe = probes::PROBES.iter().find(|probe| probe.control == IDENTITY);
    let seen =
        probe.and_then(|probe| probes::drive(probe, Platform::current(), host, &mut Answers::new()).ok());
    let facts = match seen {
        Some(probes::Outcome::Observed(facts)) => match *facts {
            Control::DeviceIdentity(identity) => Some(identity),
            _ => None,
        },
        _ => None,
    };
    Newcomer::of(&cut(host_name), facts.as_ref())
}

/// A name as canonical JSON takes it, at most 255 characters.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(255).collect()
}
