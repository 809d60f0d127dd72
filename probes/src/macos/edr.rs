//! `edr` on macOS: which endpoint security products run under their vendor's signature, whether the system lets their
//! extensions take part, and what their own programs say.
//!
//! An extension can be listed as activated and yet not run, and a process can bear any name: the list, the process and
//! its signature have to agree.

use std::collections::BTreeMap;

use proto::{Edr, Product, Reason, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered},
    catalogue::{Catalogue, CatalogueProduct, MacosProduct},
    drive::{Outcome, Step},
    macos::{
        extensions::{self, Extension},
        signature,
    },
    platform::Platform,
    products::{self, Effect},
    programs::Program,
    question::{Answer, Process, Question},
};

/// Where the system keeps the extensions it runs; only the system itself may write there.
pub(crate) const EXTENSIONS: &str = "/Library/SystemExtensions";
/// How the folder of an extension ends.
pub(crate) const BUNDLE: &str = ".systemextension";
/// Where its executable lies.
pub(crate) const INSIDE: &str = "/Contents/MacOS/";
/// More processes of one product than this are not looked at.
const PROCESSES_MAX: usize = 8;
/// Number of launchd, which starts everything that the system runs.
const FIRST_PROCESS: u32 = 1;

/// What all products are looked for in.
struct Seen<'a> {
    processes: &'a [Process],
    extensions: Option<&'a [Extension<'a>]>,
    paths: BTreeMap<&'a str, &'a Answer>,
}

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let Some(catalogue) = Catalogue::bundled() else {
        return Step::Done(Outcome::unavailable(Reason::IoError));
    };
    let mut round = Round::new(answers);
    let processes = round.ask(&Question::Processes);
    let listed = extensions::ask(&mut round);
    let paths: BTreeMap<&str, &Answer> = catalogue
        .macos()
        .flat_map(|(_, macos)| &macos.paths)
        .map(|path| (path.as_str(), round.metadata(path.clone())))
        .collect();
    if let Some(step) = round.pending() {
        return step;
    }
    let Answer::Processes(processes) = processes else { return unanswered(Question::Processes, processes) };
    if processes.is_empty() {
        // The agent itself is a process: an empty list is no list.
        return unanswered(Question::Processes, &Answer::Failed);
    }
    let rows = extensions::rows(listed);
    let seen = Seen { processes, extensions: rows.as_deref(), paths };
    let products: Vec<Product> = catalogue
        .macos()
        .map(|(entry, macos)| product(&mut round, entry, macos, &seen))
        .filter(|product| product.installed != Some(false) || product.running != Some(false))
        .collect();
    round
        .pending()
        .unwrap_or(Step::Done(Outcome::observed(Control::Edr(Edr { products, products_truncated: false }))))
}

/// What is known of one process that may be the product's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    signed: Option<bool>,
    trusted: Option<bool>,
    unit: Option<bool>,
    is_extension: bool,
}

fn product(
    round: &mut Round<'_>,
    entry: &CatalogueProduct,
    macos: &MacosProduct,
    seen: &Seen<'_>,
) -> Product {
    let rows = seen.extensions.map(|all| all.iter().filter(|row| is_of(macos, row)).collect::<Vec<_>>());
    let listed = rows.as_deref().map(is_listed_active);
    let candidates: Vec<Candidate> = seen
        .processes
        .iter()
        .filter_map(|process| candidate(round, macos, process, listed))
        .take(PROCESSES_MAX)
        .collect();
    let best = candidates.iter().filter(|c| c.signed == Some(true)).max_by_key(|c| {
        (c.trusted == Some(true) && c.unit == Some(true), c.unit == Some(true), c.trusted == Some(true))
    });
    let signed = match best {
        Some(_) => Some(true),
        // One that may be the product's leaves the whole open.
        None if candidates.iter().any(|c| c.signed.is_none()) => None,
        None => (!candidates.is_empty()).then_some(false),
    };
    let hidden = seen.processes.iter().any(|process| hides(macos, process));
    let running = match (signed, candidates.is_empty()) {
        (Some(true), _) => Some(true),
        (None, false) => None,
        _ if hidden => None,
        _ => Some(false),
    };
    let takes_part = candidates.iter().any(|c| c.is_extension && c.signed == Some(true));
    let maybe = candidates.iter().any(|c| c.is_extension && c.signed.is_none()) || hidden;
    let system = has_extension(macos).then_some(match listed {
        Some(true) if takes_part => Some(true),
        // Listed, and nothing of it runs.
        Some(true) if !maybe => Some(false),
        Some(false) => Some(false),
        _ => None,
    });
    let effect = if running == Some(true) {
        let vendor = macos.health.map(|command| products::ask_health(round, Platform::Macos, command));
        Effect::of(vendor, system)
    } else {
        Effect {
            attached: system.flatten(),
            ..Effect::not_running(products::source(macos.health.is_some(), system.is_some()))
        }
    };
    Product {
        product: entry.id.clone(),
        kind: entry.kind().into(),
        installed: installed(macos, seen, rows.as_deref(), running),
        version: rows.as_deref().and_then(version),
        running,
        trusted_path: best.and_then(|best| best.trusted),
        unit_active: match best {
            Some(best) => best.unit,
            None if running == Some(false) => Some(false),
            None => None,
        },
        attached: effect.attached,
        effective: effect.effective,
        passive: effect.passive,
        health_source: effect.source.into(),
        impairment: effect.impairment.into(),
        definitions_minutes: effect.definitions_minutes,
        signed,
    }
}

fn has_extension(macos: &MacosProduct) -> bool {
    !macos.extensions.is_empty() || !macos.extension_prefixes.is_empty()
}

/// The row is an extension of the product: its exact id, or how its ids begin, and always its exact team.
fn is_of(macos: &MacosProduct, row: &Extension<'_>) -> bool {
    let teams = || macos.team.iter().chain(&macos.other_teams);
    let named = macos.extensions.iter().any(|id| id == row.bundle)
        || macos.extension_prefixes.iter().any(|begin| row.bundle.starts_with(begin.as_str()));
    named && teams().any(|team| team == row.team)
}

/// There is one, and none that is not about to be removed waits or is off.
fn is_listed_active(rows: &[&Extension<'_>]) -> bool {
    let mut current = rows.iter().filter(|row| !row.is_replaced).peekable();
    current.peek().is_some() && current.all(|row| row.is_active)
}

/// The version of the product's active extensions, when they agree.
fn version(rows: &[&Extension<'_>]) -> Option<String> {
    let mut versions = rows.iter().filter(|row| row.is_active).map(|row| row.version);
    let first = versions.next()?;
    versions.all(|other| other == first).then(|| first.to_owned())
}

/// A process that may be the product's, with all that is known of it.
fn candidate(
    round: &mut Round<'_>,
    macos: &MacosProduct,
    process: &Process,
    listed: Option<bool>,
) -> Option<Candidate> {
    let exe = process.exe.as_deref()?;
    let is_extension = extension_of(exe).is_some_and(|id| {
        macos.extensions.iter().any(|own| own == id)
            || macos.extension_prefixes.iter().any(|begin| id.starts_with(begin.as_str()))
    });
    let file = exe.rsplit('/').next()?;
    let known = macos.executables.iter().any(|path| path == exe);
    if !is_extension && !known && !macos.processes.iter().any(|name| name == file) {
        return None;
    }
    let signed = signature::ask(round, macos, process.pid);
    let looked_at = is_extension || known;
    let trusted = if looked_at {
        products::trusted_path(round, Platform::Macos, exe, false)
    } else {
        // A place the catalogue does not name is not asked about: it may be anybody's.
        None
    };
    let by_system = if is_extension && process.parent == FIRST_PROCESS { listed } else { None };
    let by_label = macos.labels.iter().map(|label| label_runs(round, label, process.pid)).max().flatten();
    let unit = if by_label == Some(true) { by_label } else { by_system.or(by_label) };
    Some(Candidate { signed, trusted, unit, is_extension })
}

/// The id of the extension whose executable this is.
fn extension_of(exe: &str) -> Option<&str> {
    let (_, below) = exe.strip_prefix(EXTENSIONS)?.strip_prefix('/')?.split_once('/')?;
    let (bundle, file) = below.split_once(INSIDE)?;
    (!file.contains('/')).then_some(())?;
    bundle.strip_suffix(BUNDLE).filter(|id| !id.contains('/'))
}

/// Cannot be told apart from the product: it shows its name and hides its path.
fn hides(macos: &MacosProduct, process: &Process) -> bool {
    let names = macos.processes.iter().chain(&macos.extensions);
    process.exe.is_none() && names.map(String::as_str).any(|name| process.name == shortened(name))
}

/// As much of a name as the kernel keeps.
fn shortened(name: &str) -> &str {
    /// MAXCOMLEN of macOS.
    const SHORT_NAME_BYTES: usize = 16;
    name.get(..SHORT_NAME_BYTES).unwrap_or(name)
}

/// The arguments that show a system service.
pub(crate) fn print_service(label: &str) -> [String; 2] {
    ["print".to_owned(), format!("system/{label}")]
}

/// The service runs, and this is its process. `None` when that could not be seen.
fn label_runs(round: &mut Round<'_>, label: &str, pid: u32) -> Option<bool> {
    let question = Question::Run { program: Program::Launchctl, args: print_service(label).to_vec() };
    let mut lines = round.ask(&question).whole_text()?.lines();
    if lines.next()? != format!("system/{label} = {{") {
        return None;
    }
    let lines: Vec<&str> = lines.collect();
    if lines.last() != Some(&"}") {
        return None;
    }
    // Its own values stand one tab in; those of what belongs to it stand deeper.
    let value = |name: &str| {
        let mut found = lines.iter().filter_map(|line| {
            let (key, value) = line.strip_prefix('\t')?.split_once(" = ")?;
            (key == name).then_some(value)
        });
        let first = found.next()?;
        found.next().is_none().then_some(first)
    };
    let state = value("state")?;
    match value("pid") {
        Some(number) => Some(state == "running" && number.parse() == Ok(pid)),
        None => (state != "running").then_some(false),
    }
}

/// A folder may be left over, so nothing but a process shows that it is installed; that nothing is anywhere shows that
/// it is not.
fn installed(
    macos: &MacosProduct,
    seen: &Seen<'_>,
    rows: Option<&[&Extension<'_>]>,
    running: Option<bool>,
) -> Option<bool> {
    if running == Some(true) {
        return Some(true);
    }
    let no_path =
        macos.paths.iter().all(|path| matches!(seen.paths.get(path.as_str()), Some(Answer::Absent)));
    let no_extension = !has_extension(macos) || rows.is_some_and(<[_]>::is_empty);
    (no_path && no_extension).then_some(false)
}
