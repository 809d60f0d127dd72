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
mod table;
mod windows;

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
pub use table::{TABLE_LINES_MAX, TableWriter};

use proto::Reason;

/// Every probe, ascending by control.
pub const PROBES: [Probe; 4] = [
    Probe {
        control: "disk-encryption",
        version: 1,
        step: |platform, answers| match platform {
            Platform::Linux => linux::disk::step(answers),
            Platform::Windows => windows::disk::step(answers),
            Platform::Macos | Platform::Other => not_looked_at(),
        },
    },
    Probe {
        control: "edr",
        version: 2,
        step: |platform, answers| match platform {
            Platform::Linux => linux::edr::step(answers),
            Platform::Windows | Platform::Macos | Platform::Other => not_looked_at(),
        },
    },
    Probe {
        control: "os-patch",
        version: 2,
        step: |platform, answers| match platform {
            Platform::Linux => linux::os_patch::step(answers),
            Platform::Windows => windows::os_patch::step(answers),
            Platform::Macos | Platform::Other => not_looked_at(),
        },
    },
    Probe {
        control: "screen-lock",
        version: 1,
        step: |platform, answers| match platform {
            Platform::Linux => linux::screen_lock::step(answers),
            Platform::Windows => windows::screen_lock::step(answers),
            Platform::Macos | Platform::Other => not_looked_at(),
        },
    },
];

/// A platform whose probe is not written yet says so.
fn not_looked_at() -> Step {
    Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform))
}

#[cfg(test)]
mod tests;
