//! `local-administrators` on macOS: the group `admin`, whose members may become root.
//!
//! Counts leave the Mac, names do not. Rules of sudo for anybody else are not looked at.

use std::collections::BTreeSet;

use proto::{LocalAdministrators, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    macos::plists::{self, Dict, Value},
    programs::Program,
    question::{Answer, Question},
};

/// The group, with everything that is kept about it.
pub(crate) const ADMIN: [&str; 4] = ["-plist", "/Local/Default", "-read", "/Groups/admin"];
/// Every account of the Mac itself.
pub(crate) const USERS: [&str; 7] =
    ["-plist", "/Local/Default", "-readall", "/Users", "RecordName", "UniqueID", "PrimaryGroupID"];
/// Where accounts are looked for.
pub(crate) const SEARCH: [&str; 4] = ["-plist", "/Search", "-read", "/"];
/// Number of the group `admin`.
const ADMIN_GROUP: &str = "80";
/// Nodes that are the Mac's own.
const LOCAL: [&str; 2] = ["/Local/Default", "/BSD/local"];
/// The lists of nodes: the one in use, and those it is one of.
const PATHS: [&str; 3] = ["SearchPath", "NSPSearchPath", "CSPSearchPath"];
/// How the names of attributes begin.
const ATTRIBUTE: &str = "dsAttrTypeStandard:";

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let group = Question::run(Program::Dscl, &ADMIN);
    let admin = round.ask(&group);
    let users = round.ask(&Question::run(Program::Dscl, &USERS));
    let search = round.ask(&Question::run(Program::Dscl, &SEARCH));
    if let Some(step) = round.pending() {
        return step;
    }
    if admin.whole_text().is_none() {
        return unanswered(group, admin);
    }
    let Some(admin) = plists::dict(admin) else { return unparsed(group) };
    let Some(facts) = count(&admin, accounts(users).as_deref(), is_local(search)) else {
        return unparsed(group);
    };
    Step::Done(Outcome::observed(Control::LocalAdministrators(facts)))
}

/// An account of the Mac itself.
struct Account {
    name: String,
    uid: i64,
    is_admin: bool,
}

fn count(admin: &Dict, accounts: Option<&[Account]>, is_local: bool) -> Option<LocalAdministrators> {
    let named = texts(admin, "GroupMembership")?;
    // Each member is kept twice, by name and by number: where one is lost, not all were seen.
    let is_whole = match texts(admin, "GroupMembers") {
        Some(numbers) => numbers.len() == named.len(),
        None => false,
    };
    let nested = match admin.get(&format!("{ATTRIBUTE}NestedGroups")) {
        None => Some(0),
        Some(_) => texts(admin, "NestedGroups").map(|groups| groups.len()),
    };
    let mut names: BTreeSet<&str> = named.into_iter().filter(|name| *name != "root").collect();
    for account in accounts.into_iter().flatten() {
        if account.is_admin && account.uid != 0 {
            names.insert(&account.name);
        }
    }
    let other_roots = accounts
        .map(|accounts| accounts.iter().filter(|account| account.uid == 0 && account.name != "root").count());
    let number = |count: usize| u32::try_from(count).ok();
    let all_seen = is_whole && is_local && accounts.is_some() && nested.is_some();
    Some(LocalAdministrators {
        administrators: number(names.len()).filter(|_| all_seen),
        administrators_seen: number(names.len()),
        directory_groups: nested.and_then(number),
        other_root_accounts: other_roots.and_then(number),
        ..LocalAdministrators::default()
    })
}

/// The texts of an attribute; `None` unless there is at least one and nothing else.
fn texts<'a>(dict: &'a Dict, name: &str) -> Option<Vec<&'a str>> {
    let items = dict.get(&format!("{ATTRIBUTE}{name}"))?.array().filter(|items| !items.is_empty())?;
    items.iter().map(Value::text).collect()
}

/// Every account; `None` when one is not told whole, or root is not among them.
fn accounts(answer: &Answer) -> Option<Vec<Account>> {
    let list = plists::of(answer)?;
    let accounts: Vec<Account> = list.array()?.iter().map(account).collect::<Option<_>>()?;
    accounts.iter().any(|account| account.uid == 0 && account.name == "root").then_some(accounts)
}

fn account(value: &Value) -> Option<Account> {
    let dict = value.dict()?;
    let only = |name| match texts(dict, name)?.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    // The first of several names is the account's own.
    let name = *texts(dict, "RecordName")?.first()?;
    Some(Account {
        name: name.to_owned(),
        uid: only("UniqueID")?.parse().ok()?,
        is_admin: only("PrimaryGroupID")? == ADMIN_GROUP,
    })
}

/// Accounts are looked for on the Mac alone.
fn is_local(answer: &Answer) -> bool {
    let Some(search) = plists::dict(answer) else { return false };
    let mut seen = 0;
    for path in PATHS {
        match texts(&search, path) {
            Some(nodes) if nodes.iter().all(|node| LOCAL.contains(node)) => seen += 1,
            None if !search.contains_key(&format!("{ATTRIBUTE}{path}")) => {}
            _ => return false,
        }
    }
    // The list in use, and at least the one it is made of: a node lost from one is still in the other.
    seen >= 2 && search.contains_key(&format!("{ATTRIBUTE}SearchPath"))
}
