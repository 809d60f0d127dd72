//! Who may call what: the one table of every call of every listener. docs/PROTOCOL.md prints it, and a test walks it with
//! real connections, from the compiled descriptors: a call without a row is refused here and fails the test.

use std::fmt::Write as _;

use certs::{Peer, Role};

/// Who calls, as far as the listener knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody known.
    Anybody,
    /// An enrolled device.
    Agent,
    /// A person in a role.
    Person(Role),
    /// The collector's own user, at the admin socket.
    Owner,
}

impl From<Option<Peer>> for Caller {
    fn from(peer: Option<Peer>) -> Self {
        match peer {
            None => Self::Anybody,
            Some(Peer::Agent(_)) => Self::Agent,
            Some(Peer::Person { role, .. }) => Self::Person(role),
        }
    }
}

/// Where a call arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// `listen.enrol`.
    Enrol,
    /// `listen.agents`.
    Agents,
    /// `listen.people`.
    People,
    /// `admin.sock`.
    Socket,
}

impl Listener {
    /// The word of the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrol => "enrolment",
            Self::Agents => "agents",
            Self::People => "people",
            Self::Socket => "admin socket",
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Where it arrives.
    pub listener: Listener,
    /// Its service, with the package.
    pub service: &'static str,
    /// Its name.
    pub call: &'static str,
    /// Who may.
    pub may: &'static [Caller],
    /// Counted in a person's access summary of the day: it shows evidence, and leaves no entry of its own.
    pub counted: bool,
    /// What it does.
    pub what: &'static str,
}

const ADMIN: Caller = Caller::Person(Role::Admin);
const ANALYST: Caller = Caller::Person(Role::Analyst);
const AUDITOR: Caller = Caller::Person(Role::Auditor);
const ALL: &[Caller] = &[ADMIN, ANALYST, AUDITOR];
const STAFF: &[Caller] = &[ADMIN, ANALYST];
const HEALTH: &str = "grpc.health.v1.Health";
const PEOPLE: &str = "tallystick.v1.People";
const ADMIN_SERVICE: &str = "tallystick.v1.Admin";

const fn row(
    listener: Listener,
    service: &'static str,
    call: &'static str,
    may: &'static [Caller],
    what: &'static str,
) -> Row {
    Row { listener, service, call, may, counted: false, what }
}

const fn people(call: &'static str, may: &'static [Caller], what: &'static str) -> Row {
    row(Listener::People, PEOPLE, call, may, what)
}

const fn read(call: &'static str, may: &'static [Caller], what: &'static str) -> Row {
    Row { counted: true, ..people(call, may, what) }
}

const fn socket(call: &'static str, what: &'static str) -> Row {
    row(Listener::Socket, ADMIN_SERVICE, call, &[Caller::Owner], what)
}

/// The table.
pub const TABLE: &[Row] = &[
    row(
        Listener::Enrol,
        "tallystick.v1.Enrolment",
        "Enrol",
        &[Caller::Anybody],
        "enrols a device; the token decides",
    ),
    row(
        Listener::Enrol,
        "tallystick.v1.Enrolment",
        "Recover",
        &[Caller::Anybody],
        "a certificate for a device whose own has ended; its attestation key decides",
    ),
    row(Listener::Enrol, HEALTH, "Check", &[Caller::Anybody], "whether the listener serves"),
    row(Listener::Enrol, HEALTH, "Watch", &[Caller::Anybody], "the same, as a stream"),
    row(
        Listener::Agents,
        "tallystick.v1.Ingest",
        "Submit",
        &[Caller::Agent],
        "takes a device's statements, its own only",
    ),
    row(
        Listener::Agents,
        "tallystick.v1.Ingest",
        "Renew",
        &[Caller::Agent],
        "a certificate for a new TLS key of the calling device",
    ),
    row(Listener::Agents, HEALTH, "Check", &[Caller::Agent], "whether the listener serves"),
    row(Listener::Agents, HEALTH, "Watch", &[Caller::Agent], "the same, as a stream"),
    people("WhoAmI", ALL, "who the collector takes the caller for"),
    people("PutAct", ALL, "carries a signed act; the act's own signature decides whether it counts"),
    read("Posture", STAFF, "states of a day, with the facts that decided them"),
    read("Devices", STAFF, "the roster's devices"),
    read("Pending", STAFF, "enrolments that wait for a person"),
    read("Conflicts", STAFF, "devices that contradict themselves or each other"),
    read("Configurations", STAFF, "every fleet configuration"),
    people(
        "LatestCheckpoint",
        ALL,
        "newest checkpoint, with the consistency proof from a size the caller knows",
    ),
    people("Proof", ALL, "inclusion of one entry, with its leaf, never its payload"),
    people("Genesis", ALL, "the first entry, with its payload and proof: it names the log before"),
    read("Plans", ALL, "plans and how far each has come; an auditor's engagements only"),
    people("Freeze", STAFF, "freezes the frame of a committed plan"),
    people("Draw", STAFF, "draws after the reveal"),
    people("Export", ALL, "builds the sampling set and streams its files; an auditor's engagements only"),
    read(
        "Payloads",
        &[ADMIN, AUDITOR],
        "streams payload bundles, sealed as they are stored, and opened tombstones, for a mirror; no auditor who is kept to \
         engagements",
    ),
    people("Renew", ALL, "a fresh certificate for the caller's own key"),
    read("Access", &[ADMIN], "who read what"),
    row(Listener::People, HEALTH, "Check", ALL, "whether the listener serves"),
    row(Listener::People, HEALTH, "Watch", ALL, "the same, as a stream"),
    row(
        Listener::People,
        "grpc.reflection.v1.ServerReflection",
        "ServerReflectionInfo",
        ALL,
        "what calls there are",
    ),
    socket("CreateToken", "carries a token act that an admin signed"),
    socket("CreateUser", "carries a person act that an admin signed, and issues the certificate"),
    socket("RenewUser", "a fresh certificate for a person on the roster, when the old one has ended"),
    socket("ChangeAuthority", "takes a step of a change of an issuing authority"),
    socket("ReadAuthority", "how such a change stands"),
];

/// The row of a call by its HTTP path, `/service/call`.
pub fn find(listener: Listener, path: &str) -> Option<&'static Row> {
    let (service, call) = path.strip_prefix('/')?.split_once('/')?;
    TABLE.iter().find(|row| row.listener == listener && row.service == service && row.call == call)
}

impl Row {
    /// Whether a caller may.
    pub fn allows(&self, caller: Caller) -> bool {
        self.may.contains(&caller)
    }

    /// Who may, in words.
    pub fn who(&self) -> String {
        let names: Vec<&str> = self.may.iter().map(|caller| caller.as_str()).collect();
        names.join(" or ")
    }
}

impl Caller {
    /// The word of the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::Agent => "agent",
            Self::Person(role) => role.as_str(),
            Self::Owner => "owner",
        }
    }
}

/// The table as docs/PROTOCOL.md has it.
pub fn markdown() -> String {
    let mut out = String::from(
        "| listener | call | anybody | agent | admin | analyst | auditor | what |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in TABLE.iter().filter(|row| row.listener != Listener::Socket) {
        let mark = |caller| if row.allows(caller) { "x" } else { "" };
        let name = row.service.rsplit('.').next().unwrap_or(row.service);
        // Writing into a string cannot fail.
        let _done = writeln!(
            out,
            "| {} | `{name}.{}` | {} | {} | {} | {} | {} | {} |",
            row.listener.as_str(),
            row.call,
            mark(Caller::Anybody),
            mark(Caller::Agent),
            mark(ADMIN),
            mark(ANALYST),
            mark(AUDITOR),
            row.what
        );
    }
    out
}
