//! SentinelOne: `sentinelctl control status` of Linux and `sentinelctl status` of macOS.

use proto::Impairment;

use super::{Health, lines, word};

/// The processes of the agent of Linux.
const PROCESSES: [&str; 5] = ["agent", "firewall", "network", "orchestrator", "scanner"];
/// The columns of its table of processes.
const COLUMNS: [&str; 3] = ["Process", "Name", "PID"];

/// `Agent state      Enabled`, then a table of processes and their numbers.
pub(super) fn control_status(text: &str) -> Option<Health> {
    let (mut state, mut table, mut running) = (None, false, Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["Agent", "state", found] if state.is_none() => state = Some(*found),
            columns if columns == COLUMNS && !table => table = true,
            [name, pid] if table && PROCESSES.contains(name) => {
                running.push((*name, pid.parse::<u32>().is_ok_and(|pid| pid > 0)));
            }
            _ if table => {}
            _ => return None,
        }
    }
    let all = PROCESSES.iter().all(|process| running.contains(&(*process, true)));
    Some(Health::of(&[
        (word(state, &["Enabled"], &["Disabled"]), Impairment::Disabled),
        (table.then_some(all), Impairment::Partial),
    ]))
}

/// Lines `name: value` in sections.
pub(super) fn status(text: &str) -> Option<Health> {
    let agent = lines::named_section(text, "Agent", &[])?;
    let management = lines::named_section(text, "Management", &[])?;
    let integrity = lines::named_section(text, "Daemons", &["Services", "Integrity"])?;
    let value = |name: &str| agent.get(name).copied();
    let framework = word(value("ES Framework"), &["started"], &["stopped", "not started"]);
    Some(Health {
        attached: framework,
        ..Health::of(&[
            (word(value("Agent Operational State"), &["enabled"], &["disabled"]), Impairment::Disabled),
            (word(value("Protection"), &["enabled"], &["disabled"]), Impairment::Disabled),
            (value("Missing Authorizations").map(str::is_empty), Impairment::MissingPermission),
            (framework, Impairment::NotAttached),
            (
                word(value("Network Extension"), &["running"], &["not running", "stopped"]),
                Impairment::Partial,
            ),
            (word(value("Ready"), &["yes"], &["no"]), Impairment::Partial),
            (word(integrity.get("sentineld").copied(), &["ok"], &["not running"]), Impairment::Partial),
            (word(management.get("Connected").copied(), &["yes"], &["no"]), Impairment::Disconnected),
        ])
    })
}
