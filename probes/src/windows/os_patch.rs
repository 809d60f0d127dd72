//! `os-patch` on Windows: the exact build, and what Windows Update found when it last searched.

use proto::{OsPatch, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    question::Question,
    table::Table,
    windows::{self, clock},
};

const CURRENT_VERSION: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const PACKAGES: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages";
/// How the monthly update of the whole system is named, with its build at the end: `…~~26100.4061.1.10`.
const ROLLUP: &str = "Package_for_RollupFix~";
const SERVICING: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing";
const AUTO_UPDATE: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update";
/// `CurrentState` of a package that is installed.
const INSTALLED: u64 = 0x70;

/// Which Windows this is. Its name is not asked: Windows 11 still calls itself Windows 10 there.
pub(crate) fn version() -> Question {
    let names = &["CurrentBuild", "DisplayVersion", "EditionID", "InstallationType", "UBR"];
    Question::Registry { key: CURRENT_VERSION.to_owned(), names }
}

pub(crate) fn rollups() -> Question {
    Question::Keys { key: PACKAGES.to_owned(), prefix: ROLLUP }
}

pub(crate) fn package(name: &str) -> Question {
    let names = &["CurrentState", "InstallTimeHigh", "InstallTimeLow"];
    Question::Registry { key: format!(r"{PACKAGES}\{name}"), names }
}

/// The keys whose mere existence says that an update waits for a restart.
pub(crate) fn restarts() -> [Question; 2] {
    [
        Question::Keys { key: SERVICING.to_owned(), prefix: "RebootPending" },
        Question::Keys { key: AUTO_UPDATE.to_owned(), prefix: "RebootRequired" },
    ]
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let version = windows::ask(&mut round, version());
    let rollups = windows::ask(&mut round, rollups());
    let restarts = restarts().map(|question| windows::ask(&mut round, question));
    let update = windows::ask(&mut round, Question::WindowsUpdate);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(release) = version.table().and_then(Release::of) else { return version.unusable() };
    let rollup = rollups.table().and_then(|table| rollup(table, &release));
    let package = rollup.map(|name| windows::ask(&mut round, package(name)));
    if let Some(step) = round.pending() {
        return step;
    }
    let found = update.table().and_then(Table::only);
    let count = |name: &str| found.and_then(|row| row.number(name)).and_then(|n| u32::try_from(n).ok());
    Step::Done(Outcome::observed(Control::OsPatch(OsPatch {
        kernel: release.kernel(),
        os: release.os.to_owned(),
        version: Some(release.version),
        pending_security: count("PendingSecurity"),
        pending_other: count("PendingOther"),
        lists_minutes: found.and_then(|row| row.number("SearchedSeconds")).map(|seconds| seconds / 60),
        installed_minutes: package.as_ref().and_then(|asked| asked.table()).and_then(installed_minutes),
        reboot_required: restart_waits(restarts.each_ref().map(windows::Asked::table)),
    })))
}

struct Release {
    os: &'static str,
    version: String,
    build: u32,
    revision: u64,
}

impl Release {
    fn of(table: &Table<'_>) -> Option<Self> {
        let row = table.only()?;
        let build = row.text("CurrentBuild")?;
        let os = match row.text("InstallationType")? {
            "Client" => "windows",
            "Server" | "Server Core" | "Nano Server" => "windows-server",
            _ => return None,
        };
        // Servers before 2022 have no such name, and their build says enough.
        let version = row.text("DisplayVersion").into_iter().chain([row.text("EditionID")?]);
        Some(Self {
            os,
            version: version.collect::<Vec<_>>().join(" "),
            build: build.bytes().all(|b| b.is_ascii_digit()).then(|| build.parse().ok())??,
            revision: row.number("UBR")?,
        })
    }

    /// The number Microsoft publishes with every update. Every system this runs on is a 10.0.
    fn kernel(&self) -> String {
        format!("10.0.{}.{}", self.build, self.revision)
    }
}

/// The monthly update that made this build: the one whose name ends in it.
fn rollup<'a>(table: &Table<'a>, release: &Release) -> Option<&'a str> {
    let build = format!("~~{}.{}.", release.build, release.revision);
    table.rows.iter().filter_map(|row| row.text("Name")).find(|name| name.contains(&build))
}

/// When the update was installed: two halves of a 64-bit number.
fn installed_minutes(table: &Table<'_>) -> Option<u64> {
    let row = table.only()?;
    if row.number("CurrentState")? != INSTALLED {
        return None;
    }
    let half = |name: &str| row.number(name).and_then(|n| u32::try_from(n).ok()).map(u64::from);
    let units = (half("InstallTimeHigh")? << 32) | half("InstallTimeLow")?;
    clock::filetime_minutes(units)
}

/// One mark is enough; that there is none is believed when both places could be looked at.
fn restart_waits([pending, required]: [Option<&Table<'_>>; 2]) -> Option<bool> {
    let marked = |table: Option<&Table<'_>>, name: &str| {
        table.map(|table| table.rows.iter().any(|row| row.text("Name") == Some(name)))
    };
    match (marked(pending, "RebootPending"), marked(required, "RebootRequired")) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}
