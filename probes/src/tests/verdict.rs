//! A strict judge of its own, independent of the rules of `evidence`: only what is certain passes.

use proto::{
    AutomaticUpdates, BootSecurity, Coverage, DiskEncryption, Edr, FilterDefault, FilterScope, HostFirewall,
    OsPatch, ProductKind, RemoteAccess, RootLogin, ScreenLock, SecureBoot, TimeSync, VolumePurpose,
    facts::Control,
};

use crate::{Outcome, Platform};

/// The moment at which the documented machines are judged: 2026-12-01T00:00Z, in minutes.
pub(super) const NOW_MINUTES: u64 = 1_796_083_200 / 60;
const LISTS_AGE_MINUTES_MAX: u64 = 7 * 24 * 60;
const LOCK_SECONDS_MAX: u32 = 900;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Pass,
    Fail,
    Unknown,
    NotApplicable,
}

pub(super) use Verdict::{Fail, NotApplicable, Pass, Unknown};

pub(super) fn verdict(platform: Platform, outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Observed(control) => match &**control {
            Control::DiskEncryption(facts) => disk(facts),
            Control::OsPatch(facts) => patch(facts),
            Control::ScreenLock(facts) => lock(facts),
            Control::Edr(facts) => edr(facts),
            Control::HostFirewall(facts) => firewall(platform, facts),
            Control::AutomaticUpdates(facts) => updates(platform, facts),
            Control::TimeSync(facts) => time(platform, facts),
            Control::SecureBoot(facts) => boot(platform, facts),
            Control::RemoteAccess(facts) => remote(platform, facts),
        },
        Outcome::NotApplicable(_) => NotApplicable,
        Outcome::Unavailable(..) => Unknown,
    }
}

/// The worst of several: one failure is enough, then one doubt.
fn all(parts: impl IntoIterator<Item = Verdict>) -> Verdict {
    parts
        .into_iter()
        .max_by_key(|v| match v {
            Pass | NotApplicable => 0,
            Unknown => 1,
            Fail => 2,
        })
        .unwrap_or(Unknown)
}

fn disk(facts: &DiskEncryption) -> Verdict {
    let judged = facts
        .volumes
        .iter()
        .filter(|volume| !matches!(volume.purpose(), VolumePurpose::Boot | VolumePurpose::Efi));
    let has_root = facts.volumes.iter().any(|volume| volume.purpose() == VolumePurpose::Root);
    let volumes = all(judged.map(|volume| match volume.encryption() {
        Coverage::Full | Coverage::Memory => Pass,
        Coverage::None | Coverage::Partial => Fail,
        Coverage::Unspecified => Unknown,
    }));
    all([volumes, if has_root && !facts.volumes_truncated { Pass } else { Unknown }])
}

fn patch(facts: &OsPatch) -> Verdict {
    let security = match facts.pending_security {
        Some(0) => Pass,
        Some(_) => Fail,
        None => Unknown,
    };
    let lists = match facts.lists_minutes {
        Some(minutes) if minutes > NOW_MINUTES => Unknown,
        Some(minutes) if NOW_MINUTES - minutes <= LISTS_AGE_MINUTES_MAX => Pass,
        Some(_) => Fail,
        None => Unknown,
    };
    all([security, lists])
}

fn lock(facts: &ScreenLock) -> Verdict {
    let users =
        all(facts.users.iter().map(|user| match (user.enabled, user.idle_seconds, user.delay_seconds) {
            (Some(false), ..) | (_, Some(0), _) => Fail,
            (_, Some(idle), Some(delay)) if idle.saturating_add(delay) > LOCK_SECONDS_MAX => Fail,
            (Some(true), Some(_), Some(_)) => Pass,
            _ => Unknown,
        }));
    all([users, if facts.users_truncated { Unknown } else { Pass }])
}

fn edr(facts: &Edr) -> Verdict {
    let products = facts.products.iter().filter(|product| product.kind() == ProductKind::Edr);
    let each: Vec<Verdict> = products
        .map(|product| {
            all([product.running, product.trusted_path, product.unit_active].map(|fact| match fact {
                Some(true) => Pass,
                Some(false) => Fail,
                None => Unknown,
            }))
        })
        .collect();
    [Pass, Unknown].into_iter().find(|wanted| each.contains(wanted)).unwrap_or(Fail)
}

fn wanted(fact: Option<bool>, value: bool) -> Verdict {
    match fact {
        Some(found) if found == value => Pass,
        Some(_) => Fail,
        None => Unknown,
    }
}

fn firewall(platform: Platform, facts: &HostFirewall) -> Verdict {
    let expected: &[FilterScope] = match platform {
        Platform::Macos => &[FilterScope::Application],
        Platform::Windows => &[FilterScope::Domain, FilterScope::Private, FilterScope::Public],
        _ => &[FilterScope::Ipv4, FilterScope::Ipv6],
    };
    let scopes: Vec<FilterScope> = facts.filters.iter().map(proto::FirewallFilter::scope).collect();
    let complete = scopes == expected && !facts.filters_truncated;
    let filters = all(facts.filters.iter().map(|filter| {
        let incoming = match filter.incoming() {
            FilterDefault::Block => Pass,
            FilterDefault::Allow => Fail,
            // A filter by program has no such default: it depends on the program.
            FilterDefault::Unspecified if filter.scope() == FilterScope::Application => Pass,
            FilterDefault::Unspecified => Unknown,
        };
        let open = match platform {
            // Rules are not read there.
            Platform::Macos | Platform::Windows => Pass,
            _ => wanted(filter.open_interfaces.map(|n| n == 0), true),
        };
        all([incoming, wanted(filter.enabled, true), open])
    }));
    all([filters, if complete { Pass } else { Unknown }])
}

fn updates(platform: Platform, facts: &AutomaticUpdates) -> Verdict {
    let set = all([facts.downloads, facts.installs_security].map(|fact| wanted(fact, true)));
    match platform {
        // What starts them cannot be seen there.
        Platform::Macos => set,
        _ => all([set, wanted(facts.scheduled, true)]),
    }
}

fn time(platform: Platform, facts: &TimeSync) -> Verdict {
    let now = match platform {
        // Nothing tells there.
        Platform::Macos => Pass,
        Platform::Windows => match facts.synchronised_minutes {
            Some(minutes) if minutes > NOW_MINUTES => Unknown,
            Some(minutes) if NOW_MINUTES - minutes <= LISTS_AGE_MINUTES_MAX => Pass,
            Some(_) => Fail,
            None => Unknown,
        },
        _ => wanted(facts.synchronised, true),
    };
    all([wanted(facts.enabled, true), now])
}

fn boot(platform: Platform, facts: &SecureBoot) -> Verdict {
    let enabled = wanted(facts.enabled, true);
    let tpm = wanted(facts.tpm_version.map(|version| version >= 2), true);
    let level = match facts.level() {
        BootSecurity::Full => Pass,
        BootSecurity::Reduced | BootSecurity::Permissive => Fail,
        BootSecurity::Unspecified => Unknown,
    };
    match platform {
        Platform::Macos => all([enabled, level]),
        Platform::Windows => all([enabled, tpm]),
        _ => all([enabled, wanted(facts.setup_mode, false), wanted(facts.shim_disabled, false), tpm]),
    }
}

fn remote(platform: Platform, facts: &RemoteAccess) -> Verdict {
    let desktop = match (platform, facts.remote_desktop) {
        (Platform::Macos | Platform::Windows, Some(false)) => Pass,
        // A screen is shown only to who has said who he is.
        (Platform::Macos | Platform::Windows, Some(true)) => match (platform, facts.network_authentication) {
            (Platform::Windows, Some(true)) => Pass,
            (Platform::Windows, None) => Unknown,
            _ => Fail,
        },
        (Platform::Macos | Platform::Windows, None) => Unknown,
        _ => Pass,
    };
    all([desktop, ssh(facts)])
}

fn ssh(facts: &RemoteAccess) -> Verdict {
    if facts.ssh_server == Some(false) {
        return Pass;
    }
    let root = match facts.root_login() {
        RootLogin::No | RootLogin::KeysOnly | RootLogin::CommandsOnly => Pass,
        RootLogin::Yes => Fail,
        RootLogin::Unspecified => Unknown,
    };
    all([root, wanted(facts.password_login, false), wanted(facts.keyboard_interactive, false)])
}
