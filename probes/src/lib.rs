//! Pure questions about a machine, and what their answers mean.
//!
//! In scope: which questions a control needs, how every answer is read, recordings of machines and their replay.
//! Not in scope: asking them (`agent::host`), and verdicts (`evidence::rules`): a probe reports facts.

mod allowlist;
mod answers;
mod catalogue;
mod drive;
mod health;
mod identity;
mod inputs;
mod linux;
mod logic;
mod macos;
mod password_managers;
mod platform;
mod products;
mod programs;
mod question;
mod recording;
mod table;
mod windows;

pub use allowlist::{Permitted, is_permitted, names_somebody, questions};
pub use answers::Answers;
pub use catalogue::{
    Catalogue, CatalogueError, CatalogueProduct, LinuxProduct, MacosProduct, WindowsProduct, catalogue_digest,
};
pub use drive::{
    Host, NoAnswer, Outcome, Probe, QUESTIONS_MAX, ROUNDS_MAX, Step, asset, drive, observation, observe,
    observe_but,
};
pub use inputs::{Input, Inputs};
pub use linux::screen_lock::{is_graphical, may_lock};
pub use platform::Platform;
pub use programs::Program;
pub use question::{Answer, FILE_BYTES_MAX, FileKind, Metadata, NAMES_MAX, Process, Question};
pub use recording::{Origin, Recording, RecordingError, Replay};
pub use table::{TABLE_LINES_MAX, TableWriter};

use proto::Reason;

/// Every probe, ascending by control.
pub const PROBES: [Probe; 13] = [
    Probe {
        control: "automatic-updates",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::automatic_updates::step,
                Some(macos::automatic_updates::step),
                Some(windows::automatic_updates::step),
            )
        },
    },
    Probe {
        control: "device-identity",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::device_identity::step,
                Some(macos::device_identity::step),
                Some(windows::device_identity::step),
            )
        },
    },
    Probe {
        control: "disk-encryption",
        version: 1,
        step: |p, a| on(p, a, linux::disk::step, Some(macos::disk::step), Some(windows::disk::step)),
    },
    Probe {
        control: "edr",
        version: 3,
        step: |p, a| on(p, a, linux::edr::step, Some(macos::edr::step), Some(windows::edr::step)),
    },
    Probe {
        control: "host-firewall",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::host_firewall::step,
                Some(macos::host_firewall::step),
                Some(windows::host_firewall::step),
            )
        },
    },
    Probe {
        control: "local-administrators",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::local_administrators::step,
                Some(macos::local_administrators::step),
                Some(windows::local_administrators::step),
            )
        },
    },
    Probe {
        control: "mdm-enrolment",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::mdm_enrolment::step,
                Some(macos::mdm_enrolment::step),
                Some(windows::mdm_enrolment::step),
            )
        },
    },
    Probe {
        control: "os-patch",
        version: 2,
        step: |p, a| {
            on(p, a, linux::os_patch::step, Some(macos::os_patch::step), Some(windows::os_patch::step))
        },
    },
    Probe {
        control: "password-manager",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::password_manager::step,
                Some(macos::password_manager::step),
                Some(windows::password_manager::step),
            )
        },
    },
    Probe {
        control: "remote-access",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::remote_access::step,
                Some(macos::remote_access::step),
                Some(windows::remote_access::step),
            )
        },
    },
    Probe {
        control: "screen-lock",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::screen_lock::step,
                Some(macos::screen_lock::step),
                Some(windows::screen_lock::step),
            )
        },
    },
    Probe {
        control: "secure-boot",
        version: 1,
        step: |p, a| {
            on(
                p,
                a,
                linux::secure_boot::step,
                Some(macos::secure_boot::step),
                Some(windows::secure_boot::step),
            )
        },
    },
    Probe {
        control: "time-sync",
        version: 1,
        step: |p, a| {
            on(p, a, linux::time_sync::step, Some(macos::time_sync::step), Some(windows::time_sync::step))
        },
    },
];

/// The step for a platform. What is not looked at there yet says so.
fn on(
    platform: Platform,
    answers: &Answers,
    linux: fn(&Answers) -> Step,
    macos: Option<fn(&Answers) -> Step>,
    windows: Option<fn(&Answers) -> Step>,
) -> Step {
    let step = match platform {
        Platform::Linux => Some(linux),
        Platform::Macos => macos,
        Platform::Windows => windows,
        Platform::Other => None,
    };
    step.map_or_else(|| Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform)), |step| step(answers))
}

#[cfg(test)]
mod tests;
