//! What the three platforms' looks at security products share: who may change a program, and what its effect is.

use proto::{HealthSource, Impairment};

use crate::{
    answers::Round,
    health::{Health, HealthCommand},
    platform::Platform,
    question::{Answer, FileKind},
};

/// Write permission of others.
const OTHERS_WRITE: u32 = 0o002;
/// Write permission of the group.
const GROUP_WRITE: u32 = 0o020;
/// The group of administrators of macOS; its members become root by their own password, and own /Applications.
const MACOS_ADMIN_GROUP: u32 = 80;

/// The file and every folder above it belong to root, and nobody else may write there; on macOS administrators may.
///
/// A program that is asked may be a link, because the host then checks what lies behind it; one that runs may not.
pub(crate) fn trusted_path(
    round: &mut Round<'_>,
    platform: Platform,
    executable: &str,
    may_be_link: bool,
) -> Option<bool> {
    let mut trusted = Some(true);
    for (index, path) in std::iter::successors(Some(executable), |p| parent(p)).enumerate() {
        let this = match round.metadata(path) {
            Answer::Metadata(m) if m.path == path => {
                let kind = match index {
                    0 => m.kind == FileKind::File || may_be_link && m.kind == FileKind::Link,
                    _ => m.kind == FileKind::Folder,
                };
                let by_admins = platform == Platform::Macos && m.gid == MACOS_ADMIN_GROUP;
                // Everybody's bits are set on every link and mean nothing.
                let mode = if m.kind == FileKind::Link { 0 } else { m.mode };
                let writable = mode & OTHERS_WRITE != 0 || mode & GROUP_WRITE != 0 && !by_admins;
                Some(kind && m.uid == 0 && !writable)
            }
            _ => None,
        };
        // One bad folder is enough; one unknown folder leaves the whole unknown.
        trusted = match (trusted, this) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
    trusted
}

/// The folder above a path; `None` above `/`.
fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some(("", "")) | None => None,
        Some(("", _)) => Some("/"),
        Some((folder, _)) => Some(folder),
    }
}

/// Asks a vendor's program about its product, once it is certain whose program that is. Only for products that run.
pub(crate) fn ask_health(round: &mut Round<'_>, platform: Platform, command: HealthCommand) -> Health {
    let (Some((_, path)), Some(question)) = (command.program(platform), command.question(platform)) else {
        return Health::default();
    };
    if trusted_path(round, platform, path, true) != Some(true) {
        return Health::default();
    }
    command.read(platform, round.ask(&question))
}

/// The effect of one product, as it goes into the facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) attached: Option<bool>,
    pub(crate) effective: Option<bool>,
    pub(crate) passive: Option<bool>,
    pub(crate) source: HealthSource,
    pub(crate) impairment: Impairment,
    pub(crate) definitions_minutes: Option<u64>,
}

impl Effect {
    /// What can be told of a product that runs. `vendor` is `None` where the catalogue knows no health source, and
    /// `system` where the system cannot be asked whether the product takes part.
    ///
    /// The vendor's "healthy" is believed only where the system, if it can be asked, confirms it. The source depends on
    /// the catalogue alone, so that an answer that is lost cannot turn "it did not say" into "nothing can be asked".
    #[expect(
        clippy::option_option,
        reason = "cannot be asked, could not look, and an answer are three things"
    )]
    pub(crate) fn of(vendor: Option<Health>, system: Option<Option<bool>>) -> Self {
        let source = match (&vendor, system) {
            (Some(_), _) => HealthSource::Vendor,
            (None, Some(_)) => HealthSource::System,
            (None, None) => HealthSource::None,
        };
        let health = vendor.unwrap_or_default();
        let attached = system.unwrap_or(health.attached);
        let (effective, impairment) = match (health.effective, system) {
            (Some(false), _) => (Some(false), health.impairment),
            (_, Some(Some(false))) => (Some(false), Impairment::NotAttached),
            (Some(true), None | Some(Some(true))) => (Some(true), Impairment::Unspecified),
            _ => (None, Impairment::Unspecified),
        };
        Self {
            attached,
            effective,
            passive: health.passive,
            source,
            impairment,
            definitions_minutes: health.definitions_minutes,
        }
    }

    /// A product that does not run, or of which that is not known: only what could be asked about it is told.
    pub(crate) fn not_running(source: HealthSource) -> Self {
        Self { source, ..Self::default() }
    }
}

/// What the catalogue knows to ask.
pub(crate) fn source(vendor: bool, system: bool) -> HealthSource {
    match (vendor, system) {
        (true, _) => HealthSource::Vendor,
        (false, true) => HealthSource::System,
        (false, false) => HealthSource::None,
    }
}
