//! The rules of sudo, as `cvtsudoers` gives them in JSON: includes read, aliases replaced.

use serde_json::Value;

/// Asked in two spellings: a list in JSON that lost a line is still JSON, and only the other answer tells.
pub(crate) const SPELLINGS: [&[&str]; 2] =
    [&["-e", "-f", "json", "/etc/sudoers"], &["-ef", "json", "/etc/sudoers"]];
/// Everybody, every program.
const ALL: &str = "ALL";
/// The one whose password the rules below ask for is not the one who asks.
const OTHER_PASSWORDS: [&str; 3] = ["rootpw", "runaspw", "targetpw"];

/// Who a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    /// An account by name.
    User(&'a str),
    /// An account by number.
    Uid(u32),
    /// A group by name.
    Group(&'a str),
    /// A group by number.
    Gid(u32),
    /// A group that only a directory knows.
    Directory,
    /// Everybody.
    Everybody,
}

/// What the rules give away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules<'a> {
    /// Who may run everything as root.
    pub(crate) administrators: Vec<Who<'a>>,
    /// Rules by which somebody other than root becomes root without a password.
    pub(crate) passwordless: usize,
    /// Rules that give somebody other than root some programs as root.
    pub(crate) limited: usize,
}

impl<'a> Rules<'a> {
    /// Reads the whole; `None` when a part of it is not known.
    pub(crate) fn of(sudoers: &'a Value) -> Option<Self> {
        let sudoers = sudoers.as_object()?;
        let defaults = Defaults::of(sudoers.get("Defaults"))?;
        let mut rules = Self { passwordless: defaults.bound_without_password, ..Self::default() };
        let Some(specs) = sudoers.get("User_Specs") else { return Some(rules) };
        for spec in specs.as_array()? {
            rules.add(spec, &defaults)?;
        }
        Some(rules)
    }

    fn add(&mut self, spec: &'a Value, defaults: &Defaults) -> Option<()> {
        let mut who = Vec::new();
        for user in filled(spec.get("User_List")?)? {
            // Who is left out of a rule by name would have to be taken out of groups: counting him is safer.
            if !is_negated(user) {
                who.push(self::who(user)?);
            }
        }
        who.retain(|who| !matches!(who, Who::User("root") | Who::Uid(0)));
        let (mut everything, mut limited, mut passwordless) = (false, false, false);
        for commands in filled(spec.get("Cmnd_Specs")?)? {
            let as_root = runs_as_root(commands)?;
            let authenticates =
                option(commands.get("Options"), "authenticate")?.unwrap_or(defaults.authenticate);
            let all = gives_everything(commands)?;
            everything |= as_root && all;
            limited |= as_root && !all;
            passwordless |= as_root && !authenticates;
        }
        if defaults.other_password && !passwordless {
            // Root's own password is asked for: that everybody may try is no right.
            who.retain(|who| *who != Who::Everybody);
        }
        if who.is_empty() {
            return Some(());
        }
        self.passwordless = self.passwordless.saturating_add(usize::from(passwordless));
        self.limited = self.limited.saturating_add(usize::from(limited));
        if everything {
            self.administrators.extend(who);
        }
        Some(())
    }
}

/// What holds where a rule says nothing else.
#[derive(Debug)]
struct Defaults {
    authenticate: bool,
    /// Somebody else's password is asked for.
    other_password: bool,
    /// Defaults for some users, hosts or programs that ask for no password.
    bound_without_password: usize,
}

impl Defaults {
    fn of(defaults: Option<&Value>) -> Option<Self> {
        let mut all = Self { authenticate: true, other_password: false, bound_without_password: 0 };
        let Some(defaults) = defaults else { return Some(all) };
        for entry in defaults.as_array()? {
            let options = entry.get("Options");
            let authenticate = option(options, "authenticate")?;
            if entry.get("Binding").is_some() {
                let without = usize::from(authenticate == Some(false));
                all.bound_without_password = all.bound_without_password.saturating_add(without);
                continue;
            }
            all.authenticate = authenticate.unwrap_or(all.authenticate);
            for name in OTHER_PASSWORDS {
                all.other_password = option(options, name)?.unwrap_or(all.other_password);
            }
        }
        Some(all)
    }
}

/// A list with something in it: sudo writes none that is empty.
fn filled(list: &Value) -> Option<&Vec<Value>> {
    list.as_array().filter(|items| !items.is_empty())
}

fn is_negated(item: &Value) -> bool {
    item.get("negated").and_then(Value::as_bool).unwrap_or(false)
}

/// The value of a switch in a list of options, where it is set; the outer `None` is a list that is none.
#[expect(clippy::option_option, reason = "unreadable, not set, and set are three things")]
fn option(options: Option<&Value>, name: &str) -> Option<Option<bool>> {
    let Some(options) = options else { return Some(None) };
    let mut found = None;
    for option in options.as_array()? {
        if let Some(value) = option.as_object()?.get(name) {
            found = Some(value.as_bool()?);
        }
    }
    Some(found)
}

fn who(user: &Value) -> Option<Who<'_>> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let (kind, value) = user.as_object()?.iter().find(|(kind, _)| *kind != "negated")?;
    match kind.as_str() {
        "username" => match value.as_str()? {
            ALL => Some(Who::Everybody),
            name => Some(Who::User(name)),
        },
        "userid" => Some(Who::Uid(number(value)?)),
        "usergroup" => Some(Who::Group(value.as_str()?)),
        "usergid" => Some(Who::Gid(number(value)?)),
        "netgroup" | "nonunixgroup" | "nonunixgid" => Some(Who::Directory),
        _ => None,
    }
}

/// Whether these programs may be run as root; groups and what is not plain count as root.
fn runs_as_root(commands: &Value) -> Option<bool> {
    let Some(users) = commands.get("runasusers") else {
        // Another group only, else root.
        return Some(commands.get("runasgroups").is_none());
    };
    Some(filled(users)?.iter().any(|user| {
        !is_negated(user)
            && match who(user) {
                Some(Who::User(name)) => name == "root",
                Some(Who::Uid(uid)) => uid == 0,
                _ => true,
            }
    }))
}

fn gives_everything(commands: &Value) -> Option<bool> {
    let mut everything = false;
    for command in filled(commands.get("Commands")?)? {
        let name = command.get("command")?.as_str()?;
        everything |= name == ALL && !is_negated(command);
    }
    Some(everything)
}

#[cfg(test)]
mod tests;
