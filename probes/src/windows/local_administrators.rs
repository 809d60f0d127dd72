//! `local-administrators` on Windows: members of the group S-1-5-32-544, whatever its name is in this language.
//!
//! Counts leave the computer, names and SIDs do not.

use proto::{LocalAdministrators, Reason, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    question::Question,
    table::{Row, Table},
    windows,
};

/// The group of administrators.
pub(crate) const ADMINISTRATORS: Question = Question::LocalGroup { sid: "S-1-5-32-544" };
const TYPE: &str = "ProductType";
/// [`TYPE`] of a domain controller: the group and the accounts there are those of the whole domain.
const DOMAIN_CONTROLLER: &str = "LanmanNT";
const TYPES: [&str; 3] = [DOMAIN_CONTROLLER, "ServerNT", "WinNT"];
/// How the SID of the built-in Administrator ends.
const BUILT_IN: &str = "-500";

/// What kind of Windows this is.
pub(crate) fn product() -> Question {
    Question::Registry {
        key: r"HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions".to_owned(),
        names: &[TYPE],
    }
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let product = windows::ask(&mut round, product());
    if let Some(step) = round.pending() {
        return step;
    }
    let kind = product.table().and_then(Table::only).and_then(|row| row.text(TYPE));
    match kind.filter(|kind| TYPES.contains(kind)) {
        None => return product.unusable(),
        Some(DOMAIN_CONTROLLER) => return Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform)),
        Some(_) => {}
    }
    let members = windows::ask(&mut round, ADMINISTRATORS);
    if let Some(step) = round.pending() {
        return step;
    }
    match members.table().and_then(count) {
        Some(facts) => Step::Done(Outcome::observed(Control::LocalAdministrators(facts))),
        None => members.unusable(),
    }
}

/// What a member is.
enum Member {
    /// Somebody, or an account that nobody can use now.
    Account { built_in: bool, usable: bool },
    /// A group, or what a directory that is not reached would have to explain.
    Group,
    /// Everybody, or everybody of a kind.
    Everybody,
}

fn count(members: &Table<'_>) -> Option<LocalAdministrators> {
    // Windows lets nobody take the built-in account out of the group.
    let mut built_in_enabled = None;
    let (mut accounts, mut groups, mut everybody) = (0_u32, 0_u32, false);
    for row in &members.rows {
        match member(row)? {
            Member::Account { built_in, usable } => {
                if built_in {
                    built_in_enabled = Some(usable);
                }
                accounts = accounts.saturating_add(u32::from(usable));
            }
            Member::Group => groups = groups.saturating_add(1),
            Member::Everybody => everybody = true,
        }
    }
    built_in_enabled?;
    Some(LocalAdministrators {
        administrators: Some(accounts).filter(|_| !everybody),
        administrators_seen: Some(accounts),
        directory_groups: Some(groups),
        // Windows has no root whose number another account could have.
        other_root_accounts: Some(0),
        built_in_enabled,
        ..LocalAdministrators::default()
    })
}

/// A row by its SID_NAME_USE.
fn member(row: &Row<'_>) -> Option<Member> {
    let sid = row.text("Sid").filter(|sid| sid.starts_with("S-1-"))?;
    match row.number("Kind")? {
        // User. An account of a directory does not say here whether it is disabled.
        1 => {
            let usable = match (row.all("Disabled").next(), row.number("Disabled")) {
                (None, _) | (_, Some(0)) => true,
                (_, Some(1)) => false,
                _ => return None,
            };
            let is_local = row.number("Disabled").is_some();
            Some(Member::Account { built_in: is_local && sid.ends_with(BUILT_IN), usable })
        }
        // Group, alias, deleted, unknown.
        2 | 4 | 6 | 8 => Some(Member::Group),
        // Well known: Everyone, Authenticated Users and the like.
        5 => Some(Member::Everybody),
        _ => None,
    }
}
