//! Which kind of machine answers: a value, so that every parser runs and is tested everywhere.

/// The operating system that answers a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Linux with /proc and /sys.
    Linux,
    /// Apple macOS.
    Macos,
    /// Microsoft Windows.
    Windows,
    /// Anything else.
    Other,
}

impl Platform {
    /// The platform this program was built for.
    pub const fn current() -> Self {
        if cfg!(target_os = "linux") {
            Self::Linux
        } else if cfg!(target_os = "macos") {
            Self::Macos
        } else if cfg!(target_os = "windows") {
            Self::Windows
        } else {
            Self::Other
        }
    }

    /// The name recordings use: `linux`, `macos`, `windows` or `other`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Macos => "macos",
            Self::Windows => "windows",
            Self::Other => "other",
        }
    }

    /// The platform of a recording's header; `None` for a name that is not one of [`Platform::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Linux, Self::Macos, Self::Windows, Self::Other].into_iter().find(|p| p.name() == name)
    }
}
