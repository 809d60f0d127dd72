//! The accounts and groups of /etc, and whether a directory may add to them.
//!
//! A line lost from such a file would leave no trace in it, so its size is asked for too.

use std::collections::BTreeSet;

use crate::{
    answers::Round,
    linux::{container, mounts::decimal},
    question::{Answer, FileKind},
};

/// Accounts, one a line.
pub(crate) const PASSWD: &str = "/etc/passwd";
/// Groups, one a line.
pub(crate) const GROUP: &str = "/etc/group";
/// Where accounts, groups and rules of sudo come from.
pub(crate) const SOURCES: &str = "/etc/nsswitch.conf";
/// What [`SOURCES`] is a link to where authselect writes it.
pub(crate) const SOURCES_AUTHSELECT: &str = "/etc/authselect/nsswitch.conf";
/// Holds all of the above.
pub(crate) const ETC: &str = "/etc";
/// Services that know further accounts, each a socket.
pub(crate) const USERDB: &str = "/run/systemd/userdb";
/// The socket of systemd-homed, whose accounts are in no file of /etc.
pub(crate) const HOMED: &str = "io.systemd.Home";
/// Sources that know no accounts but those of /etc; what `systemd` may add is looked for apart.
const LOCAL: [&str; 3] = ["files", "compat", "systemd"];
/// Shells that let nobody in.
const NO_SHELLS: [&str; 2] = ["nologin", "false"];

/// One line of [`PASSWD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its number.
    pub(crate) uid: u32,
    gid: u32,
    shell: &'a str,
}

impl Account<'_> {
    /// It has a shell somebody can work in. A locked password is no reason: a key lets in all the same.
    pub(crate) fn lets_in(&self) -> bool {
        self.shell.rsplit('/').next().is_none_or(|shell| !NO_SHELLS.contains(&shell))
    }
}

/// One line of [`GROUP`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

/// Accounts and groups of the machine itself.
#[derive(Debug)]
pub(crate) struct Accounts<'a> {
    /// Every account, in the order of the file.
    pub(crate) accounts: Vec<Account<'a>>,
    groups: Vec<Group<'a>>,
}

impl<'a> Accounts<'a> {
    /// Reads both files; `None` when a line of one is not what it should be.
    pub(crate) fn parse(passwd: &'a str, group: &'a str) -> Option<Self> {
        let accounts = lines(passwd).map(account).collect::<Option<Vec<_>>>()?;
        let groups = lines(group).map(self::group).collect::<Option<Vec<_>>>()?;
        // Every system has root in both.
        let has_root = accounts.iter().any(|a| a.uid == 0) && groups.iter().any(|g| g.gid == 0);
        has_root.then_some(Self { accounts, groups })
    }

    /// The account of a number.
    pub(crate) fn by_uid(&self, uid: u32) -> Option<&Account<'a>> {
        self.accounts.iter().find(|account| account.uid == uid)
    }

    /// Names of the members of a group, by its name; `None` where /etc has no such group.
    pub(crate) fn members(&self, name: &str) -> Option<BTreeSet<&'a str>> {
        self.members_where(|group| group.name == name)
    }

    /// The same by the group's number.
    pub(crate) fn members_of(&self, gid: u32) -> Option<BTreeSet<&'a str>> {
        self.members_where(|group| group.gid == gid)
    }

    fn members_where(&self, is_it: impl Fn(&Group<'a>) -> bool) -> Option<BTreeSet<&'a str>> {
        let groups: Vec<&Group<'a>> = self.groups.iter().filter(|group| is_it(group)).collect();
        if groups.is_empty() {
            return None;
        }
        let named = groups.iter().flat_map(|group| group.members.iter().copied());
        let first = |account: &&Account<'a>| groups.iter().any(|group| group.gid == account.gid);
        Some(named.chain(self.accounts.iter().filter(first).map(|account| account.name)).collect())
    }

    /// Whether an account of this name can be worked in; one that /etc does not know may be of a directory.
    pub(crate) fn may_be_used(&self, name: &str) -> bool {
        let mut known = self.accounts.iter().filter(|account| account.name == name).peekable();
        known.peek().is_none() || known.any(|account| account.uid != 0 && account.lets_in())
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A line that takes in others from a directory begins with a sign, and is no account.
fn account(line: &str) -> Option<Account<'_>> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, _, shell] = fields.as_slice() else { return None };
    (!name.is_empty() && !name.starts_with(['+', '-'])).then_some(())?;
    Some(Account { name, uid: decimal(uid)?, gid: decimal(gid)?, shell })
}

fn group(line: &str) -> Option<Group<'_>> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields.as_slice() else { return None };
    (!name.is_empty() && !name.starts_with(['+', '-'])).then_some(())?;
    let members = members.split(',').filter(|member| !member.is_empty()).collect();
    Some(Group { name, gid: decimal(gid)?, members })
}

/// A file's text, when it is as long as the system says.
pub(crate) fn whole<'a>(path: &str, content: &'a Answer, metadata: &Answer) -> Option<&'a str> {
    let Answer::Metadata(metadata) = metadata else { return None };
    let text = content.whole_text()?;
    let is_whole = metadata.path == path
        && metadata.kind == FileKind::File
        && u64::try_from(text.len()) == Ok(metadata.size_bytes);
    is_whole.then_some(text)
}

/// Something is not in a folder: neither listed there nor found by its name.
pub(crate) fn is_missing(list: &Answer, name: &str, found: &Answer) -> bool {
    *found == Answer::Absent
        && list.names().is_some_and(|names| !names.is_empty() && !names.iter().any(|n| n == name))
}

/// What tells where accounts come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    content: &'a Answer,
    metadata: [(&'static str, &'a Answer); 2],
    etc: &'a Answer,
    run_systemd: &'a Answer,
    services: &'a Answer,
    homed: &'a Answer,
}

/// Asks where accounts come from.
pub(crate) fn ask_sources<'a>(round: &mut Round<'a>) -> Sources<'a> {
    Sources {
        content: round.read(SOURCES),
        metadata: [SOURCES, SOURCES_AUTHSELECT].map(|path| (path, round.metadata(path))),
        etc: round.list(ETC),
        run_systemd: round.list(container::RUN_SYSTEMD),
        services: round.list(USERDB),
        homed: round.metadata(format!("{USERDB}/{HOMED}")),
    }
}

impl Sources<'_> {
    /// Accounts, groups and rules of sudo are those of /etc and no others.
    pub(crate) fn are_local(&self) -> bool {
        self.has_no_homed() && self.name_no_directory()
    }

    fn has_no_homed(&self) -> bool {
        match self.services {
            Answer::Absent => {
                *self.homed == Answer::Absent && is_missing(self.run_systemd, "userdb", &Answer::Absent)
            }
            services => is_missing(services, HOMED, self.homed),
        }
    }

    fn name_no_directory(&self) -> bool {
        // Without the file, as with musl, only /etc is read.
        let [(_, metadata), _] = self.metadata;
        if *self.content == Answer::Absent {
            return is_missing(self.etc, "nsswitch.conf", metadata);
        }
        let whole = self.metadata.iter().find_map(|(path, metadata)| whole(path, self.content, metadata));
        let Some(text) = whole else { return false };
        // Rules of sudo come from its file unless something else is named.
        sources(text, "passwd") == Some(true)
            && sources(text, "group") == Some(true)
            && sources(text, "sudoers") != Some(false)
    }
}

/// Whether a database has local sources only; `None` where it is not named.
fn sources(text: &str, database: &str) -> Option<bool> {
    let mut all = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((name, sources)) = line.split_once(':') else { continue };
        if name.trim() != database {
            continue;
        }
        // What to do with an answer stands in brackets.
        let local = sources
            .split_whitespace()
            .filter(|source| !source.starts_with('['))
            .all(|source| LOCAL.contains(&source));
        all = Some(all.unwrap_or(true) && local && !sources.trim().is_empty());
    }
    all
}

#[cfg(test)]
mod tests;
