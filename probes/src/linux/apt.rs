//! What `apt-get -s dist-upgrade` and `apt list --upgradable` print, read strictly and against each other.
//!
//! The simulation counts what it would do before it lists it, so a shortened list is noticed. It leaves out
//! what is held or kept back; `apt list` does not, and shows the suite of every package.

use std::collections::{BTreeMap, BTreeSet};

use crate::linux::mounts::decimal;

/// Packages that could be newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Of a security suite.
    pub(crate) security: u32,
    /// Of other suites.
    pub(crate) other: u32,
}

/// A package of one architecture.
type Package = (String, String);

/// What the simulation says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Simulation {
    upgraded: u32,
    not_upgraded: u32,
    upgrades: BTreeMap<Package, Candidate>,
    removals: BTreeSet<String>,
}

/// The version a package would get.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    version: String,
    /// It comes from a security suite, perhaps among others.
    security: bool,
}

/// Both outputs together; `None` when either is not understood or they disagree.
pub(crate) fn pending(simulation: &str, list: &str) -> Option<Pending> {
    let simulation = parse_simulation(simulation)?;
    let list = parse_list(list)?;
    let removed = list.keys().filter(|(name, _)| simulation.removals.contains(name)).count();
    let total = simulation.upgraded.checked_add(simulation.not_upgraded)?;
    if list.len() != usize::try_from(total).ok()?.checked_add(removed)? {
        return None;
    }
    let mut security: BTreeSet<&Package> = list.iter().filter(|(_, c)| c.security).map(|(p, _)| p).collect();
    for (package, candidate) in &simulation.upgrades {
        if list.get(package)?.version != candidate.version {
            return None;
        }
        if candidate.security {
            security.insert(package);
        }
    }
    let security = u32::try_from(security.len()).ok()?;
    Some(Pending { security, other: u32::try_from(list.len()).ok()?.checked_sub(security)? })
}

/// Reads `apt-get -s dist-upgrade`; `None` when the summary is missing or its counts do not fit the lines.
fn parse_simulation(text: &str) -> Option<Simulation> {
    let mut summaries = text.lines().filter_map(parse_summary);
    let summary = summaries.next()?;
    if summaries.next().is_some() {
        return None;
    }
    let mut upgrades = BTreeMap::new();
    let mut installs: u32 = 0;
    let mut removals = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Inst ") {
            match parse_inst(rest)? {
                (package, candidate, true) => {
                    if upgrades.insert(package, candidate).is_some() {
                        return None;
                    }
                }
                (_, _, false) => installs = installs.checked_add(1)?,
            }
        } else if let Some(rest) = line.strip_prefix("Remv ").or_else(|| line.strip_prefix("Purg ")) {
            let name = rest.split(' ').next()?;
            removals.insert(name.split(':').next()?.to_owned());
        }
    }
    let fits = u32::try_from(upgrades.len()).ok()? == summary.upgraded && installs == summary.installed;
    fits.then_some(Simulation {
        upgraded: summary.upgraded,
        not_upgraded: summary.not_upgraded,
        upgrades,
        removals,
    })
}

struct Summary {
    upgraded: u32,
    installed: u32,
    not_upgraded: u32,
}

/// `80 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.`; a summary that also counts downgrades or
/// reinstallations is not understood.
fn parse_summary(line: &str) -> Option<Summary> {
    let (upgraded, rest) = line.split_once(" upgraded, ")?;
    let (installed, rest) = rest.split_once(" newly installed, ")?;
    let (removed, rest) = rest.split_once(" to remove and ")?;
    decimal(removed)?;
    Some(Summary {
        upgraded: decimal(upgraded)?,
        installed: decimal(installed)?,
        not_upgraded: decimal(rest.strip_suffix(" not upgraded.")?)?,
    })
}

/// `NAME [OLD] (NEW ORIGIN:VERSION/SUITE, ORIGIN:VERSION/SUITE [ARCH]) …`: the package, its candidate, and
/// whether it is an upgrade rather than a new package.
fn parse_inst(rest: &str) -> Option<(Package, Candidate, bool)> {
    let (head, tail) = rest.split_once(" (")?;
    let (inner, _) = tail.split_once(')')?;
    let (name, old) = match head.split_once(' ') {
        Some((name, old)) => (name, Some(old.strip_prefix('[')?.strip_suffix(']')?)),
        None => (head, None),
    };
    let (version, rest) = inner.split_once(' ')?;
    let (origins, architecture) = rest.strip_suffix(']')?.rsplit_once(" [")?;
    let suites = origins.split(", ").map(|origin| origin.rsplit_once('/').map(|(_, suite)| suite));
    let suites: Option<Vec<&str>> = suites.collect();
    let name = name.split(':').next().filter(|n| !n.is_empty())?;
    let candidate = Candidate { version: version.to_owned(), security: suites?.into_iter().any(is_security) };
    Some(((name.to_owned(), architecture.to_owned()), candidate, old.is_some()))
}

/// Reads `apt list --upgradable`: `NAME/SUITE,SUITE VERSION ARCH [upgradable from: OLD]`.
fn parse_list(text: &str) -> Option<BTreeMap<Package, Candidate>> {
    let mut lines = text.lines();
    if !matches!(lines.next()?, "Listing..." | "Listing... Done") {
        return None;
    }
    let mut packages = BTreeMap::new();
    for line in lines {
        let (name, rest) = line.split_once('/')?;
        let mut rest = rest.splitn(4, ' ');
        let (suites, version, architecture) = (rest.next()?, rest.next()?, rest.next()?);
        let state = rest.next()?;
        if name.is_empty() || !state.starts_with("[upgradable from: ") || !state.ends_with(']') {
            return None;
        }
        let candidate =
            Candidate { version: version.to_owned(), security: suites.split(',').any(is_security) };
        if packages.insert((name.to_owned(), architecture.to_owned()), candidate).is_some() {
            return None;
        }
    }
    Some(packages)
}

/// Security suites of Debian and Ubuntu end so: `bookworm-security`, `stable-security`, `jammy-apps-security`.
fn is_security(suite: &str) -> bool {
    suite.ends_with("-security")
}

#[cfg(test)]
mod tests;
