//! `host-firewall`: what becomes of incoming traffic that no rule names, for IPv4 and IPv6 apart.
//!
//! A chain alone is no firewall, and an active service neither: only what the kernel does with a packet counts.

use proto::{FilterDefault, FilterScope, FirewallFilter, HostFirewall, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{
        container,
        nftables::{Fate, Ruleset},
    },
    programs::Program,
    question::{Answer, Question},
};

/// The rules in force as JSON; `firewalld`, `ufw` and `iptables-nft` write theirs there too.
pub(crate) const RULESET: [&str; 3] = ["-j", "list", "ruleset"];
/// Tables of the older kernel interface, which nftables does not show; there once its module is loaded.
pub(crate) const OLD_IPV4: &str = "/proc/net/ip_tables_names";
/// The same for IPv6.
pub(crate) const OLD_IPV6: &str = "/proc/net/ip6_tables_names";

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let question = Question::run(Program::Nft, &RULESET);
    let listed = round.ask(&question);
    let old = [round.read(OLD_IPV4), round.read(OLD_IPV6)];
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(text) = listed.whole_text() else { return unanswered(question, listed) };
    let Some(ruleset) = Ruleset::parse(text) else { return unparsed(question) };
    let [old_ipv4, old_ipv6] = old;
    let filters = vec![
        filter(&ruleset, FilterScope::Ipv4, "ip", old_ipv4),
        filter(&ruleset, FilterScope::Ipv6, "ip6", old_ipv6),
    ];
    Step::Done(Outcome::observed(Control::HostFirewall(HostFirewall { filters, filters_truncated: false })))
}

fn filter(ruleset: &Ruleset, scope: FilterScope, family: &str, old: &Answer) -> FirewallFilter {
    let incoming = ruleset.incoming(family);
    let fate = match incoming.fate {
        // Every chain is passed, so one that blocks is enough whatever the old tables do.
        Fate::Block => FilterDefault::Block,
        Fate::Accept if has_no_old_filter(old) => FilterDefault::Allow,
        _ => FilterDefault::Unspecified,
    };
    FirewallFilter {
        scope: scope.into(),
        enabled: match fate {
            FilterDefault::Block => Some(true),
            FilterDefault::Allow => Some(incoming.has_rules),
            FilterDefault::Unspecified => None,
        },
        incoming: fate.into(),
        open_interfaces: incoming.open_interfaces,
    }
}

/// The older interface filters nothing: it is not there, or has no such table.
fn has_no_old_filter(names: &Answer) -> bool {
    match names {
        Answer::Absent => true,
        other => other.whole_text().is_some_and(|text| !text.lines().any(|table| table == "filter")),
    }
}
