//! `host-firewall` on Windows: the three profiles, as policy, device management and the machine's own settings make
//! them together, and whether the service that enforces them runs.
//!
//! WMI's `MSFT_NetFirewallProfile` gives the effective settings only to who passes `PolicyStore=ActiveStore` beside the
//! query; a plain query gives the machine's own, which policy overrides. So the stores themselves are read.

use proto::{FilterDefault, FilterScope, FirewallFilter, HostFirewall, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    logic::all_of,
    question::Question,
    table::Table,
    windows::{self, services, settings::Setting},
};

/// What the machine itself was set to. Its standard profile is the one for private networks.
const LOCAL: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy";
const LOCAL_PROFILES: [&str; 3] = ["DomainProfile", "StandardProfile", "PublicProfile"];
/// What Group Policy says. The standard profile is the older name of private and public networks together.
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall";
/// What device management says, below [`LOCAL`].
const MANAGED: &str = "Mdm";
const FORCED_PROFILES: [&str; 4] = ["DomainProfile", "PrivateProfile", "PublicProfile", "StandardProfile"];
/// The service that enforces all of it.
const SERVICE: &str = "MpsSvc";
const ENABLED: &str = "EnableFirewall";
const INCOMING: &str = "DefaultInboundAction";

fn profile(root: &str, name: &str) -> Question {
    Question::Registry { key: format!(r"{root}\{name}"), names: &[INCOMING, ENABLED] }
}

pub(crate) fn local() -> [Question; 3] {
    LOCAL_PROFILES.map(|name| profile(LOCAL, name))
}

pub(crate) fn policy() -> [Question; 4] {
    FORCED_PROFILES.map(|name| profile(POLICY, name))
}

pub(crate) fn managed() -> [Question; 4] {
    FORCED_PROFILES.map(|name| profile(&format!(r"{LOCAL}\{MANAGED}"), name))
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let local = local().map(|question| windows::ask(&mut round, question));
    let policy = policy().map(|question| windows::ask(&mut round, question));
    let managed = managed().map(|question| windows::ask(&mut round, question));
    let running = windows::ask(&mut round, services::RUNNING);
    if let Some(step) = round.pending() {
        return step;
    }
    let (
        [Some(own_domain), Some(own_private), Some(own_public)],
        [Some(gp_domain), Some(gp_private), Some(gp_public), Some(gp_standard)],
        [Some(dm_domain), Some(dm_private), Some(dm_public), Some(dm_standard)],
    ) = (
        local.each_ref().map(windows::Asked::table),
        policy.each_ref().map(windows::Asked::table),
        managed.each_ref().map(windows::Asked::table),
    )
    else {
        let all = local.into_iter().chain(policy).chain(managed);
        return windows::first_unusable(all);
    };
    let runs = running.table().and_then(|list| services::runs(list, SERVICE));
    let filters = vec![
        filter(FilterScope::Domain, own_domain, &[gp_domain, dm_domain], runs),
        filter(FilterScope::Private, own_private, &[gp_private, gp_standard, dm_private, dm_standard], runs),
        filter(FilterScope::Public, own_public, &[gp_public, gp_standard, dm_public], runs),
    ];
    Step::Done(Outcome::observed(Control::HostFirewall(HostFirewall { filters, filters_truncated: false })))
}

/// What is forced wins; where several force different things, nothing is known.
fn in_force(own: &Table<'_>, forced: &[&Table<'_>], name: &str) -> Setting {
    let mut set = forced.iter().map(|table| Setting::of(table, name)).filter(|s| *s != Setting::Unset);
    match set.next() {
        None => Setting::of(own, name),
        Some(first) if set.all(|other| other == first) => first,
        Some(_) => Setting::Strange,
    }
}

fn filter(scope: FilterScope, own: &Table<'_>, forced: &[&Table<'_>], runs: Option<bool>) -> FirewallFilter {
    let switch = in_force(own, forced, ENABLED).flag();
    let enabled = all_of([switch, runs]);
    let incoming = match (switch, in_force(own, forced, INCOMING)) {
        // A profile that is off blocks nothing.
        (Some(false), _) => FilterDefault::Allow,
        // Not configured blocks: the machine's default.
        (Some(true), Setting::Unset | Setting::Is(1)) => FilterDefault::Block,
        (Some(true), Setting::Is(0)) => FilterDefault::Allow,
        _ => FilterDefault::Unspecified,
    };
    FirewallFilter {
        scope: scope.into(),
        enabled,
        incoming: if runs == Some(true) || switch == Some(false) {
            incoming
        } else {
            FilterDefault::Unspecified
        }
        .into(),
        // The rules are not read.
        open_interfaces: None,
    }
}
