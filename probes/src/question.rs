//! What a probe may want to know, and every shape an answer can take.
//!
//! The text of a [`Question`] and the bytes of an [`Answer`] are part of the format: `answers_digest` of an
//! attestation is made of them (docs/FORMAT.md section 3).

use std::fmt;

use proto::Reason;

use crate::{linux::xfce, programs::Program};

/// Where dconf keeps a user's settings, below his home folder.
const DCONF: &str = ".config/dconf/user";

/// Most bytes read from one file; the largest files asked for are mountinfo of a container host and os-release.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most names read from one folder; /proc and /sys folders asked for stay far below.
pub const NAMES_MAX: usize = 8192;

/// One thing a probe would like to know. Printed, it is one line, and is its own name in recordings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// The output of a program of the allow-list. Printed `run PROGRAM ARGS`.
    Run {
        /// Which program.
        program: Program,
        /// Its arguments; none contains white space.
        args: Vec<String>,
    },
    /// The output of a program that runs as a logged-in user, on his session bus. Printed
    /// `run-as UID DESKTOP PROGRAM ARGS`.
    RunAs {
        /// The user's number.
        uid: u32,
        /// Value of XDG_CURRENT_DESKTOP, which selects per-desktop defaults.
        desktop: String,
        /// Which program.
        program: Program,
        /// Its arguments; none contains white space.
        args: Vec<String>,
    },
    /// The content of a file. Printed `read PATH`.
    Read(String),
    /// The names in a folder. Printed `list PATH`.
    List(String),
    /// The target of a symbolic link. Printed `link PATH`.
    Link(String),
    /// Kind, owner, mode, size and time of a path, not following a link. Printed `metadata PATH`.
    Metadata(String),
    /// The lines of a file below the home folder of a logged-in user, read with his rights and no more. Printed
    /// `read-as UID PATH`; answered with a table of `line` texts, so that a part of it is no answer.
    ReadAs {
        /// The user's number.
        uid: u32,
        /// The file, from his home folder on: where that lies is not told.
        path: &'static str,
    },
    /// Every process with the path of its executable. Printed `processes`.
    Processes,
    /// As whom and how a process was started. Printed `started PID: NAME, NAME`; answered with a table of the
    /// number `uid`, an `argument` text each, and those of the variables that are set. `~` stands for the home folder.
    Started {
        /// Process id.
        pid: u32,
        /// Names of the variables of its environment; no other is told.
        names: &'static [&'static str],
    },
    /// Values of a key of the Windows registry. Printed `registry KEY: NAME, NAME`.
    Registry {
        /// The key, from `HKLM\\` or `HKU\\` on.
        key: String,
        /// Names of the values.
        names: &'static [&'static str],
    },
    /// Names of the keys right below a key that begin with a prefix. Printed `keys KEY: PREFIX`.
    Keys {
        /// The key above them.
        key: String,
        /// How their names begin.
        prefix: &'static str,
    },
    /// Properties of every object of a WMI class. Printed `wmi NAMESPACE CLASS: NAME, NAME`.
    ///
    /// `METHOD.NAME` is a value that the method, which only reads, gives out when it returns 0.
    Wmi {
        /// The namespace.
        namespace: &'static str,
        /// The class.
        class: &'static str,
        /// Properties, and what methods give out.
        names: &'static [&'static str],
    },
    /// Members of a group of the Windows computer itself, by the group's number, which no language changes. Printed
    /// `local-group SID`.
    ///
    /// Per member a row: `Sid`, `Kind` (SID_NAME_USE), and `Disabled`, 0 or 1, where it is an account of this computer.
    LocalGroup {
        /// The group's SID.
        sid: &'static str,
    },
    /// What Windows Update found when it last searched, without a new search. Printed `windows-update`.
    WindowsUpdate,
}

impl Question {
    /// A question for a program's output.
    pub fn run(program: Program, args: &[&str]) -> Self {
        Self::Run { program, args: args.iter().map(|a| (*a).to_owned()).collect() }
    }

    /// The path that is asked about; `None` where a program or the processes are asked.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Read(path) | Self::List(path) | Self::Link(path) | Self::Metadata(path) => Some(path),
            _ => None,
        }
    }

    /// The file behind the answer that lies below a user's home folder, with his number: a change of it may change
    /// the answer. A program that keeps its settings in one is asked, and the file is not read.
    pub fn path_of_user(&self) -> Option<(u32, &'static str)> {
        match self {
            Self::ReadAs { uid, path } => Some((*uid, *path)),
            Self::RunAs { uid, program: Program::Gsettings, .. } => Some((*uid, DCONF)),
            Self::RunAs { uid, program: Program::Gdbus, args, .. }
                if args.iter().any(|arg| arg == xfce::ALL_PROPERTIES) =>
            {
                Some((*uid, xfce::OF_USER))
            }
            _ => None,
        }
    }

    /// The reason to give when this was answered with something that cannot be used.
    pub fn reason(&self, answer: &Answer) -> Reason {
        match answer {
            Answer::Absent => match self {
                Self::Run { .. }
                | Self::RunAs { .. }
                | Self::Wmi { .. }
                | Self::LocalGroup { .. }
                | Self::WindowsUpdate => Reason::ToolMissing,
                _ => Reason::IoError,
            },
            Answer::Denied => Reason::NoPrivilege,
            Answer::TimedOut => Reason::Timeout,
            Answer::TooLarge => Reason::TooLarge,
            Answer::Failed => Reason::IoError,
            _ => Reason::UnparsedOutput,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { program, args } => {
                write!(f, "run {}", program.name())?;
                args.iter().try_for_each(|a| write!(f, " {a}"))
            }
            Self::RunAs { uid, desktop, program, args } => {
                write!(f, "run-as {uid} {desktop} {}", program.name())?;
                args.iter().try_for_each(|a| write!(f, " {a}"))
            }
            Self::Read(path) => write!(f, "read {path}"),
            Self::List(path) => write!(f, "list {path}"),
            Self::Link(path) => write!(f, "link {path}"),
            Self::Metadata(path) => write!(f, "metadata {path}"),
            Self::ReadAs { uid, path } => write!(f, "read-as {uid} {path}"),
            Self::Processes => f.write_str("processes"),
            Self::Started { pid, names } => write!(f, "started {pid}: {}", names.join(", ")),
            Self::Registry { key, names } => write!(f, "registry {key}: {}", names.join(", ")),
            Self::Keys { key, prefix } => write!(f, "keys {key}: {prefix}"),
            Self::Wmi { namespace, class, names } => {
                write!(f, "wmi {namespace} {class}: {}", names.join(", "))
            }
            Self::LocalGroup { sid } => write!(f, "local-group {sid}"),
            Self::WindowsUpdate => f.write_str("windows-update"),
        }
    }
}

/// What a host answered. Every failure is a value, so that a probe must decide what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Content of a file.
    Bytes(Vec<u8>),
    /// A program ran to its end.
    Output {
        /// Exit code, or 256 + the number of the signal that ended it.
        status: u32,
        /// Everything it wrote to standard output.
        stdout: Vec<u8>,
        /// Everything it wrote to standard error.
        stderr: Vec<u8>,
    },
    /// Names in a folder, ascending bytewise.
    Names(Vec<String>),
    /// There is no such file, folder or program.
    Absent,
    /// The system refused.
    Denied,
    /// It took too long.
    TimedOut,
    /// It is larger than the limit; nothing of it is given.
    TooLarge,
    /// Any other failure.
    Failed,
    /// Target of a symbolic link.
    Link(String),
    /// The processes, ascending by id.
    Processes(Vec<Process>),
    /// What is known of a path.
    Metadata(Metadata),
}

/// One running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Process id of its parent, 0 when it has none.
    pub parent: u32,
    /// The short name the kernel shows; anybody can choose his own, so it never proves anything.
    pub name: String,
    /// Path of the executable; `None` when the system does not tell.
    pub exe: Option<String>,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The path that was looked at, so that an answer names what it is about.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Owner's user number.
    pub uid: u32,
    /// Owner's group number.
    pub gid: u32,
    /// Permission bits, 12 bits.
    pub mode: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Time of the last change of content, seconds since 1970 UTC.
    pub modified_seconds: i64,
}

/// Kinds of things a path can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, device or pipe.
    Special,
}

impl FileKind {
    const ALL: [Self; 4] = [Self::File, Self::Folder, Self::Link, Self::Special];

    /// The word used in recordings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Special => "special",
        }
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {:04o} {} {} {}",
            self.kind.name(),
            self.uid,
            self.gid,
            self.mode,
            self.size_bytes,
            self.modified_seconds,
            self.path
        )
    }
}

impl Metadata {
    /// Reads the line [`Metadata`] prints: kind, uid, gid, octal mode, size, seconds, path.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(7, ' ');
        let kind = parts.next()?;
        Some(Self {
            kind: FileKind::ALL.into_iter().find(|k| k.name() == kind)?,
            uid: parts.next()?.parse().ok()?,
            gid: parts.next()?.parse().ok()?,
            mode: u32::from_str_radix(parts.next()?, 8).ok()?,
            size_bytes: parts.next()?.parse().ok()?,
            modified_seconds: parts.next()?.parse().ok()?,
            path: parts.next()?.to_owned(),
        })
    }
}

impl Answer {
    /// The raw answer as it is hashed: kind byte, then
    ///
    /// - 0 bytes: the content; 8 link: the target; 10 metadata: the line it prints;
    /// - 1 output: u32be(status) ‖ LP(stdout) ‖ LP(stderr);
    /// - 2 names: LP of each;
    /// - 9 processes: per process u32be(pid) ‖ u32be(parent) ‖ LP(name) ‖ u8(1 if there is a path) ‖ LP(path or "");
    /// - 3 absent, 4 denied, 5 timed out, 6 too large, 7 failed: nothing.
    pub fn raw(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Bytes(bytes) => {
                out.push(0);
                out.extend_from_slice(bytes);
            }
            Self::Output { status, stdout, stderr } => {
                out.push(1);
                out.extend_from_slice(&status.to_be_bytes());
                push_lp(&mut out, stdout);
                push_lp(&mut out, stderr);
            }
            Self::Names(names) => {
                out.push(2);
                for name in names {
                    push_lp(&mut out, name.as_bytes());
                }
            }
            Self::Absent => out.push(3),
            Self::Denied => out.push(4),
            Self::TimedOut => out.push(5),
            Self::TooLarge => out.push(6),
            Self::Failed => out.push(7),
            Self::Link(target) => {
                out.push(8);
                out.extend_from_slice(target.as_bytes());
            }
            Self::Processes(processes) => {
                out.push(9);
                for process in processes {
                    out.extend_from_slice(&process.pid.to_be_bytes());
                    out.extend_from_slice(&process.parent.to_be_bytes());
                    push_lp(&mut out, process.name.as_bytes());
                    out.push(u8::from(process.exe.is_some()));
                    push_lp(&mut out, process.exe.as_deref().unwrap_or("").as_bytes());
                }
            }
            Self::Metadata(metadata) => {
                out.push(10);
                out.extend_from_slice(metadata.to_string().as_bytes());
            }
        }
        out
    }

    /// The whole lines of a file or of a program that ended with exit code 0.
    ///
    /// Text that does not end in a line end was cut, and is `None`: half a number must not count as a number.
    pub fn whole_text(&self) -> Option<&str> {
        let (Self::Bytes(bytes) | Self::Output { status: 0, stdout: bytes, .. }) = self else { return None };
        let text = std::str::from_utf8(bytes).ok()?;
        (text.is_empty() || text.ends_with('\n')).then_some(text)
    }

    /// The one line of a file such as those of /sys; `None` when there are none or several.
    pub fn line(&self) -> Option<&str> {
        let line = self.whole_text()?.strip_suffix('\n')?;
        (!line.contains('\n')).then_some(line)
    }

    /// The names of a folder.
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Names(names) => Some(names),
            _ => None,
        }
    }
}

/// Appends u32be(length) ‖ bytes; answers are capped far below 2^32.
pub(crate) fn push_lp(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
