//! The states of several systemd units out of one answer.

use std::collections::BTreeMap;

use crate::{
    programs::Program,
    question::{Answer, Question},
};

/// Units that start automatic updates, then those that serve SSH; one program's run tells all of them.
pub(crate) const UNITS: [&str; 8] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dnf-automatic.timer",
    "dnf5-automatic.timer",
    "ssh.service",
    "ssh.socket",
    "sshd.service",
    "sshd.socket",
];
const SSH_SERVICES: [&str; 2] = ["ssh.service", "sshd.service"];
const PROPERTIES: [&str; 4] =
    ["--no-pager", "--property=Id", "--property=LoadState", "--property=ActiveState"];

/// The question for all of [`UNITS`].
pub(crate) fn question() -> Question {
    let args: Vec<&str> = ["show"].into_iter().chain(UNITS).chain(PROPERTIES).collect();
    Question::run(Program::Systemctl, &args)
}

/// What systemd says of each unit.
#[derive(Debug)]
pub(crate) struct Units(BTreeMap<&'static str, bool>);

impl Units {
    /// Reads the blocks, one for each unit in the order asked; `None` when one is not whole.
    pub(crate) fn parse(answer: &Answer) -> Option<Self> {
        let text = answer.whole_text()?;
        let blocks: Vec<&str> = text.split("\n\n").collect();
        if blocks.len() != UNITS.len() {
            return None;
        }
        UNITS
            .into_iter()
            .zip(blocks)
            .map(|(unit, block)| Some((unit, active(unit, block)?)))
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Some unit of these is active; `None` when none is and one is not told.
    pub(crate) fn any_active(&self, units: &[&str]) -> Option<bool> {
        let mut all = Some(false);
        for unit in units {
            match self.0.get(unit) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => all = None,
            }
        }
        all
    }
}

/// Whether a unit is active, out of its block. Of SSH's two names one may stand for the other.
fn active(unit: &str, block: &str) -> Option<bool> {
    let mut values = BTreeMap::new();
    for line in block.lines() {
        let (key, value) = line.split_once('=')?;
        if values.insert(key, value).is_some() {
            return None;
        }
    }
    let id = *values.get("Id")?;
    if id != unit && !(SSH_SERVICES.contains(&id) && SSH_SERVICES.contains(&unit)) {
        return None;
    }
    values.get("LoadState")?;
    match *values.get("ActiveState")? {
        "active" | "activating" | "reloading" => Some(true),
        "inactive" | "failed" | "deactivating" => Some(false),
        _ => None,
    }
}
