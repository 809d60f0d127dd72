//! `edr` on Windows: which endpoint security products run as their own service, whether Windows protects and attaches
//! them, and what it says of Microsoft's own.
//!
//! What an installer left behind in registry and folders is never evidence, and neither is the Security Center, which
//! goes on saying "on" for products that were switched off: it can only take away.

use proto::{Edr, HealthSource, Impairment, Product, Reason, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered},
    catalogue::{Catalogue, CatalogueProduct, WindowsHealth, WindowsProduct},
    drive::{Outcome, Step},
    products::{self, Effect},
    question::{Answer, Process, Question},
    table::{Row, Table},
    windows::{self, defender},
};

pub(crate) const SERVICES: Question = Question::Wmi {
    namespace: r"root\CIMV2",
    class: "Win32_Service",
    names: &["Name", "State", "Started", "ProcessId", "PathName"],
};
pub(crate) const DRIVERS: Question = Question::Wmi {
    namespace: r"root\CIMV2",
    class: "Win32_SystemDriver",
    names: &["Name", "State", "Started"],
};
const SERVICE_KEYS: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";
const IMAGE: &str = "ImagePath";
const PROTECTED: &str = "LaunchProtected";
/// `LaunchProtected`: 1 Windows, 2 Windows light, 3 antimalware light. The kernel lets nothing into such a process but
/// code that is signed by its vendor, or by Windows.
const PROTECTIONS: std::ops::RangeInclusive<u64> = 1..=3;
/// `State` of a service or driver that runs; a word of the model, which no language changes.
const RUNNING: &str = "Running";
/// More services of one product than this are not looked at.
const SERVICES_MAX: usize = 8;
/// How paths of services may begin, and what for. The environment of the system, not of a user.
const PLACES: [(&str, &str); 6] = [
    (r"\??\", ""),
    (r"%programfiles%\", r"c:\program files\"),
    (r"%programdata%\", r"c:\programdata\"),
    (r"%systemroot%\", r"c:\windows\"),
    (r"%windir%\", r"c:\windows\"),
    (r"\systemroot\", r"c:\windows\"),
];

/// How a service is started, and what protects it.
pub(crate) fn service(name: &str) -> Question {
    Question::Registry { key: format!(r"{SERVICE_KEYS}\{name}"), names: &[IMAGE, PROTECTED, "Start"] }
}

/// What all products are looked for in.
struct Seen<'a> {
    processes: &'a [Process],
    services: &'a Table<'a>,
    drivers: Option<&'a Table<'a>>,
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let Some(catalogue) = Catalogue::bundled() else {
        return Step::Done(Outcome::unavailable(Reason::IoError));
    };
    let mut round = Round::new(answers);
    let processes = round.ask(&Question::Processes);
    let services = windows::ask(&mut round, SERVICES);
    let drivers = windows::ask(&mut round, DRIVERS);
    if let Some(step) = round.pending() {
        return step;
    }
    let Answer::Processes(processes) = processes else { return unanswered(Question::Processes, processes) };
    if processes.is_empty() {
        // The agent itself is a process: an empty list is no list.
        return unanswered(Question::Processes, &Answer::Failed);
    }
    // Windows itself is made of services and drivers: an empty list is none.
    let Some(services) = services.table().filter(|table| !table.rows.is_empty()) else {
        return services.unusable();
    };
    let drivers = drivers.table().filter(|table| !table.rows.is_empty());
    let seen = Seen { processes, services, drivers };
    let products: Vec<Product> = catalogue
        .windows()
        .map(|(entry, windows)| product(&mut round, entry, windows, &seen))
        .filter(|product| product.installed != Some(false) || product.running != Some(false))
        .collect();
    round
        .pending()
        .unwrap_or(Step::Done(Outcome::observed(Control::Edr(Edr { products, products_truncated: false }))))
}

/// What is known of one service of the product that Windows says runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    running: Option<bool>,
    unit: Option<bool>,
    protected: Option<bool>,
}

fn product(
    round: &mut Round<'_>,
    entry: &CatalogueProduct,
    product: &WindowsProduct,
    seen: &Seen<'_>,
) -> Product {
    let own: Vec<&Row<'_>> = seen.services.rows.iter().filter(|row| is_of(product, row)).collect();
    let candidates: Vec<Candidate> = own
        .iter()
        .filter(|row| runs(row) != Some(false))
        .take(SERVICES_MAX)
        .map(|row| candidate(round, product, row, seen.processes))
        .collect();
    let best = candidates.iter().filter(|c| c.running == Some(true)).max_by_key(|c| {
        (c.unit == Some(true) && c.protected == Some(true), c.unit == Some(true), c.protected == Some(true))
    });
    let unknown = candidates.iter().any(|c| c.running.is_none());
    // A program of its name that no service started may be anybody's, and may be the product's.
    let alone = seen.processes.iter().any(|process| shows(product, process));
    let running = match best {
        Some(_) => Some(true),
        None if unknown || alone => None,
        None => Some(false),
    };
    let system = (!product.drivers.is_empty())
        .then(|| seen.drivers.map(|table| product.drivers.iter().all(|driver| driver_runs(table, driver))));
    let source = products::source(product.health.is_some(), system.is_some());
    let effect = if running == Some(true) {
        let vendor = product.health.map(|health| match health {
            WindowsHealth::DefenderAntivirus => {
                defender::antivirus(round, product.security_center.as_deref())
            }
            WindowsHealth::DefenderEndpoint => defender::endpoint(round),
        });
        Effect::of(vendor, system)
    } else {
        Effect { attached: system.flatten(), ..Effect::not_running(source) }
    };
    debug_assert!(effect.source == source && source != HealthSource::Unspecified);
    debug_assert!(effect.effective == Some(false) || effect.impairment == Impairment::Unspecified);
    Product {
        product: entry.id.clone(),
        kind: entry.kind().into(),
        installed: match running {
            Some(true) => Some(true),
            // A service that is only registered may be left over.
            _ => (own.is_empty() && !alone).then_some(false),
        },
        version: None,
        running,
        trusted_path: best.and_then(|best| best.protected),
        unit_active: match best {
            Some(best) => best.unit,
            None => (!unknown).then_some(false),
        },
        attached: effect.attached,
        effective: effect.effective,
        passive: effect.passive,
        health_source: effect.source.into(),
        impairment: effect.impairment.into(),
        definitions_minutes: effect.definitions_minutes,
        signed: best.and_then(|best| best.protected),
    }
}

/// The service is the product's, by its exact name or, where the vendor appends a version, by how it begins.
fn is_of(product: &WindowsProduct, row: &Row<'_>) -> bool {
    let Some(name) = row.text("Name") else { return false };
    product.services.iter().any(|own| match name.get(..own.len()) {
        Some(begin) if begin.eq_ignore_ascii_case(own) => {
            let version = name.get(own.len()..).unwrap_or_default();
            version.is_empty() || product.service_version_suffix && is_version(version)
        }
        _ => false,
    })
}

fn is_version(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Windows says that it runs; both of its words have to agree.
fn runs(row: &Row<'_>) -> Option<bool> {
    match (row.text("State")? == RUNNING, row.number("Started")?) {
        (true, 1) => Some(true),
        (false, _) => Some(false),
        (true, _) => None,
    }
}

fn driver_runs(table: &Table<'_>, driver: &str) -> bool {
    table.rows.iter().any(|row| {
        row.text("Name").is_some_and(|name| name.eq_ignore_ascii_case(driver)) && runs(row) == Some(true)
    })
}

/// The file name of a program is one of the product's.
fn is_image(product: &WindowsProduct, path: &str) -> bool {
    let file = path.rsplit('\\').next().unwrap_or(path);
    product.images.iter().any(|image| image.eq_ignore_ascii_case(file))
}

fn shows(product: &WindowsProduct, process: &Process) -> bool {
    is_image(product, process.exe.as_deref().unwrap_or(&process.name))
}

fn candidate(
    round: &mut Round<'_>,
    product: &WindowsProduct,
    row: &Row<'_>,
    processes: &[Process],
) -> Candidate {
    let registered = row.text("Name").map(|name| windows::ask(round, service(name)));
    let pid = row.number("ProcessId").filter(|pid| *pid > 0);
    let process = processes.iter().find(|process| Some(u64::from(process.pid)) == pid);
    let exe = process.and_then(|process| process.exe.as_deref());
    let values = registered.as_ref().and_then(|asked| asked.table()?.only());
    let image = |text: Option<&str>| text.and_then(image_of);
    let unit = match (exe, image(row.text("PathName")), image(values.and_then(|row| row.text(IMAGE)))) {
        (Some(exe), Some(told), Some(kept)) => {
            Some(exe.eq_ignore_ascii_case(&told) && exe.eq_ignore_ascii_case(&kept))
        }
        _ => None,
    };
    Candidate {
        running: match (runs(row), exe) {
            (Some(true), Some(exe)) if product.images.is_empty() || is_image(product, exe) => Some(true),
            (Some(true), Some(_)) => Some(false),
            _ => None,
        },
        unit,
        protected: values
            .and_then(|row| row.number(PROTECTED))
            .filter(|protection| PROTECTIONS.contains(protection))
            .map(|_| true),
    }
}

/// The program of a service's command line, in lower case; `None` where it cannot be told from its arguments.
fn image_of(command: &str) -> Option<String> {
    let command = command.trim();
    let path = match command.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => {
            let end = command.to_ascii_lowercase().find(".exe")?.checked_add(4)?;
            let (path, arguments) = command.split_at_checked(end)?;
            // Windows would try every blank of a path that is not quoted, so such a path names no one file.
            if path.contains(' ') && !arguments.is_empty()
                || !arguments.is_empty() && !arguments.starts_with(' ')
            {
                return None;
            }
            path
        }
    };
    let path = path.to_ascii_lowercase();
    for (begin, place) in PLACES {
        if let Some(rest) = path.strip_prefix(begin) {
            return Some(format!("{place}{rest}"));
        }
    }
    (path.get(1..3) == Some(":\\")).then_some(path)
}

#[cfg(test)]
mod tests;
