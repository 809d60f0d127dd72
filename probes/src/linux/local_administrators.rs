//! `local-administrators`: how many accounts may become root, by group, by sudo or by root's number.
//!
//! Counts leave the machine, names do not. A group that gives root in other ways (docker, disk) is not looked at.

use std::collections::BTreeSet;

use proto::{LocalAdministrators, facts::Control};
use serde_json::Value;

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{
        accounts::{self, Accounts},
        container,
        sudoers::{Rules, SPELLINGS, Who},
    },
    programs::Program,
    question::{Answer, Question},
};

/// Groups that distributions make administrators of, by sudo's rules or by polkit's.
const GROUPS: [&str; 3] = ["admin", "sudo", "wheel"];
/// The rules of sudo.
pub(crate) const SUDOERS: &str = "sudoers";
/// Further ways to become root, and further accounts: where one is there, not all was seen.
pub(crate) const OTHER_WAYS: [&str; 3] = ["doas.conf", "sudoers-rs", "userdb"];

/// The question for the rules of sudo, in one of two spellings.
pub(crate) fn rules(spelling: &[&str]) -> Question {
    Question::run(Program::Cvtsudoers, spelling)
}

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let files =
        [accounts::PASSWD, accounts::GROUP].map(|path| (path, round.read(path), round.metadata(path)));
    let sources = accounts::ask_sources(&mut round);
    let etc = round.list(accounts::ETC);
    let in_etc = |round: &mut Round<'_>, name: &str| {
        let found = round.metadata(format!("{}/{name}", accounts::ETC));
        accounts::is_missing(etc, name, found)
    };
    let no_sudo = in_etc(&mut round, SUDOERS);
    let no_other_way = OTHER_WAYS.map(|name| in_etc(&mut round, name)).into_iter().all(|missing| missing);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let mut texts = [""; 2];
    for ((path, content, metadata), text) in files.into_iter().zip(&mut texts) {
        let question = Question::Read(path.to_owned());
        if content.whole_text().is_none() {
            return unanswered(question, content);
        }
        match accounts::whole(path, content, metadata) {
            Some(whole) => *text = whole,
            None => return unparsed(question),
        }
    }
    let [passwd, group] = texts;
    let Some(accounts) = Accounts::parse(passwd, group) else {
        return unparsed(Question::Read(accounts::PASSWD.to_owned()));
    };
    // No file, no rules; else both spellings must give the same.
    let sudoers = if no_sudo {
        Some(Value::Object(serde_json::Map::new()))
    } else {
        let [one, other] = SPELLINGS.map(|spelling| round.ask(&rules(spelling)));
        if let Some(step) = round.pending() {
            return step;
        }
        same(one, other)
    };
    let rules = sudoers.as_ref().and_then(Rules::of);
    let may_be_more = !(sources.are_local() && no_other_way);
    Step::Done(Outcome::observed(Control::LocalAdministrators(count(&accounts, rules.as_ref(), may_be_more))))
}

fn same(one: &Answer, other: &Answer) -> Option<Value> {
    let text = one.whole_text().filter(|text| !text.is_empty())?;
    (other.whole_text() == Some(text)).then(|| serde_json::from_str(text).ok())?
}

fn count(accounts: &Accounts<'_>, rules: Option<&Rules<'_>>, may_be_more: bool) -> LocalAdministrators {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut directory_groups = 0_usize;
    let mut add = |members: &mut dyn Iterator<Item = &str>| {
        names.extend(members.filter(|name| accounts.may_be_used(name)).map(str::to_owned));
    };
    for group in GROUPS {
        add(&mut accounts.members(group).into_iter().flatten());
    }
    for who in rules.iter().flat_map(|rules| &rules.administrators) {
        let members: Option<BTreeSet<&str>> = match *who {
            Who::User(name) => Some([name].into()),
            Who::Uid(uid) => accounts.by_uid(uid).map(|account| [account.name].into()),
            Who::Group(name) => accounts.members(name),
            Who::Gid(gid) => accounts.members_of(gid),
            Who::Everybody => Some(accounts.accounts.iter().map(|account| account.name).collect()),
            Who::Directory => None,
        };
        match members {
            Some(members) => add(&mut members.into_iter()),
            // Not of this machine: its people are a directory's.
            None => directory_groups = directory_groups.saturating_add(1),
        }
    }
    let number = |count: usize| u32::try_from(count).ok();
    let other_roots = accounts.accounts.iter().filter(|account| account.uid == 0 && account.name != "root");
    LocalAdministrators {
        administrators: number(names.len()).filter(|_| rules.is_some() && !may_be_more),
        administrators_seen: number(names.len()),
        directory_groups: rules.and_then(|_| number(directory_groups)),
        other_root_accounts: number(other_roots.count()),
        passwordless_rules: rules.and_then(|rules| number(rules.passwordless)),
        limited_rules: rules.and_then(|rules| number(rules.limited)),
        built_in_enabled: None,
    }
}
