//! A fact of this machine changes, and a drift statement of it lies in the collector's log: the two real programs as processes,
//! the real probes, the real package manager.
//!
//! Takes root, and Debian's `/run/reboot-required`: whether packages ask for a restart is a fact that a test may change.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::process::Command;
use std::time::{Duration, Instant};

use evidence::statement::Statement;
use proto::Trigger;
use proto::facts::Control;
use proto::observation::Outcome;
use tests::figures;
use tests::flag::Flag;
use tests::kept;
use tests::process::{Running, wait_for};
use tests::programs;
use tests::world::World;

/// The goal on an idle machine is 5 s; a busy one may take longer, which is no fault.
const DELAY_MAX: Duration = Duration::from_mins(1);
/// Changes that are tried: as many drift statements as may be made at once.
const CHANGES: usize = 4;

fn statements(world: &World) -> Vec<Statement> {
    kept::envelopes(world).iter().map(|envelope| envelope.claimed().expect("a statement")).collect()
}

fn trigger(statement: &Statement) -> Trigger {
    statement
        .attestation()
        .map_or_else(|| panic!("a gap: {statement:?}"), |attestation| attestation.fields.trigger())
}

/// Whether a statement says that a restart is asked for.
fn restart_asked(statement: &Statement) -> bool {
    let attestation = statement.attestation().expect("an attestation");
    let asked = attestation.fields.observations.iter().find_map(|observation| match &observation.outcome {
        Some(Outcome::Observed(proto::Facts { control: Some(Control::OsPatch(patch)) })) => {
            patch.reboot_required
        }
        _ => None,
    });
    asked.expect("whether a restart is asked for")
}

#[test]
fn a_changed_fact_is_in_the_log_within_seconds() {
    let world = World::new(programs!());
    let _server = world.serve();
    world.enrol_agent("agent", &world.token());
    let flag = Flag::default();
    let mut command = Command::new(programs!().agent);
    command.arg("--state").arg(world.file("agent")).arg("run");
    let agent = Running::start(command, &world.file("agent.log"));
    wait_for("the first statement", || (statements(&world).len() == 1).then_some(()));
    let mut delays = Vec::new();
    for number in 1..=CHANGES {
        let begun = Instant::now();
        flag.change();
        let drift = wait_for("the drift statement", || statements(&world).into_iter().nth(number));
        delays.push(begun.elapsed());
        assert_eq!(trigger(&drift), Trigger::Drift);
        assert_eq!(restart_asked(&drift), flag.is_up(), "it says what is so");
    }
    agent.stop();
    let text: Vec<String> = delays.iter().map(|delay| format!("{:.1}", delay.as_secs_f64())).collect();
    figures::report(
        "drift, from the change of a fact to the statement in the collector's journal, s",
        text.join(" "),
    );
    assert!(delays.iter().all(|delay| *delay < DELAY_MAX), "{delays:?}");
}
