//! Pure questions about a machine, and what their answers mean.
//!
//! In scope: which questions a control needs, how every answer is read, recordings of machines and their replay.
//! Not in scope: asking them (`agent::host`), and verdicts (`evidence::rules`): a probe reports facts.

mod allowlist;
mod answers;
mod catalogue;
mod drive;
mod linux;
mod platform;
mod programs;
mod question;
mod recording;

pub use allowlist::{Permitted, is_permitted, questions};
pub use answers::Answers;
pub use catalogue::{
    Catalogue, CatalogueError, CatalogueProduct, LinuxProduct, MacosProduct, WindowsProduct, catalogue_digest,
};
pub use drive::{
    Host, NoAnswer, Outcome, Probe, QUESTIONS_MAX, ROUNDS_MAX, Step, asset, drive, observation, observe,
};
pub use linux::screen_lock::is_graphical;
pub use platform::Platform;
pub use programs::Program;
pub use question::{Answer, FILE_BYTES_MAX, FileKind, Metadata, NAMES_MAX, Process, Question};
pub use recording::{Origin, Recording, RecordingError, Replay};

use proto::Reason;

/// Every probe, ascending by control.
pub const PROBES: [Probe; 9] = [
    Probe {
        control: "automatic-updates",
        version: 1,
        step: |p, a| on_linux(p, a, linux::automatic_updates::step),
    },
    Probe { control: "disk-encryption", version: 1, step: |p, a| on_linux(p, a, linux::disk::step) },
    Probe { control: "edr", version: 2, step: |p, a| on_linux(p, a, linux::edr::step) },
    Probe { control: "host-firewall", version: 1, step: |p, a| on_linux(p, a, linux::host_firewall::step) },
    Probe { control: "os-patch", version: 2, step: |p, a| on_linux(p, a, linux::os_patch::step) },
    Probe { control: "remote-access", version: 1, step: |p, a| on_linux(p, a, linux::remote_access::step) },
    Probe { control: "screen-lock", version: 1, step: |p, a| on_linux(p, a, linux::screen_lock::step) },
    Probe { control: "secure-boot", version: 1, step: |p, a| on_linux(p, a, linux::secure_boot::step) },
    Probe { control: "time-sync", version: 1, step: |p, a| on_linux(p, a, linux::time_sync::step) },
];

/// Other platforms are not looked at yet, and say so.
fn on_linux(platform: Platform, answers: &Answers, step: fn(&Answers) -> Step) -> Step {
    match platform {
        Platform::Linux => step(answers),
        Platform::Macos | Platform::Windows | Platform::Other => {
            Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform))
        }
    }
}

#[cfg(test)]
mod tests;
