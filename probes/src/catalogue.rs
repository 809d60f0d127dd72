//! The catalogue of endpoint security products: data that grows without code.

use std::sync::OnceLock;

use proto::ProductKind;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{health::HealthCommand, linux::mounts::decimal};

mod valid;

pub use valid::CatalogueError;

/// The catalogue of this release, as reviewed text.
const TEXT: &str = include_str!("../catalogue/edr.toml");
/// Longest short name of a process that Linux keeps, in bytes.
const SHORT_NAME_BYTES: usize = 15;
/// How many folders below a vendor's own folder a program of his may lie.
pub(crate) const FOLDERS_BELOW_MAX: usize = 3;

/// Products, ascending by id.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Date of the last review, `YYYY-MM-DD`.
    pub updated: String,
    /// One entry per product.
    #[serde(rename = "product")]
    pub products: Vec<CatalogueProduct>,
}

/// One product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueProduct {
    /// Name in the facts, `[a-z0-9-]`.
    pub id: String,
    /// Name a person knows it by.
    pub name: String,
    kind: Kind,
    /// Where the entry's facts come from.
    pub sources: Vec<String>,
    /// What proves it on Linux; `None` where nothing does.
    pub linux: Option<LinuxProduct>,
    /// What proves it on macOS; `None` where nothing does.
    pub macos: Option<MacosProduct>,
    /// What proves it on Windows; `None` where nothing does.
    pub windows: Option<WindowsProduct>,
}

/// What proves a product on Linux.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinuxProduct {
    /// Exact paths of its process's executable.
    #[serde(default)]
    pub executables: Vec<String>,
    /// The path is followed by a build number.
    #[serde(default)]
    pub build_suffix: bool,
    /// The vendor's own folders, where no exact path is known.
    #[serde(default)]
    pub folders: Vec<String>,
    /// File names of executables below `folders`.
    #[serde(default)]
    pub processes: Vec<String>,
    /// Short names its process shows that are not the name of its file.
    #[serde(default)]
    pub names: Vec<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its Debian package.
    pub deb: Option<String>,
    /// Its RPM package.
    pub rpm: Option<String>,
    /// The vendor's program that tells whether it is well.
    pub(crate) health: Option<HealthCommand>,
}

/// What proves a product on macOS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacosProduct {
    /// Ids of its application bundles.
    #[serde(default)]
    pub bundles: Vec<String>,
    /// Apple's Team ID of its signature.
    pub team: Option<String>,
    /// Team IDs of earlier or other publishers of the same product.
    #[serde(default)]
    pub other_teams: Vec<String>,
    /// Ids of its system extensions.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// What the ids of its system extensions begin with; only with the exact team.
    #[serde(default)]
    pub extension_prefixes: Vec<String>,
    /// Labels of its launchd jobs.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Files and folders of an installation.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Names of its processes; they count only with the team's signature.
    #[serde(default)]
    pub processes: Vec<String>,
    /// Exact paths of executables of its processes, whose owner can be looked at.
    #[serde(default)]
    pub executables: Vec<String>,
    /// The vendor's program that tells whether it is well.
    pub(crate) health: Option<HealthCommand>,
}

/// What proves a product on Windows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowsProduct {
    /// Names of its services.
    #[serde(default)]
    pub services: Vec<String>,
    /// A service's name may be followed by a version.
    #[serde(default)]
    pub service_version_suffix: bool,
    /// File names of its programs; they count only as a service's image or with the signature.
    #[serde(default)]
    pub images: Vec<String>,
    /// Folders of an installation.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Kernel drivers and minifilters.
    #[serde(default)]
    pub drivers: Vec<String>,
    /// Organisation in its signature.
    pub signer: Option<String>,
    /// The id it has in the Security Center, where it is always the same.
    pub security_center: Option<String>,
    /// What Windows itself tells about its state.
    pub(crate) health: Option<WindowsHealth>,
}

/// What Windows tells about the state of a product of Microsoft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WindowsHealth {
    /// `MSFT_MpComputerStatus`: the antivirus.
    DefenderAntivirus,
    /// The onboarding state in the registry, and the mode of the antivirus.
    DefenderEndpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Edr,
    Av,
    Telemetry,
    Platform,
}

impl CatalogueProduct {
    /// The kind as the facts say it.
    pub fn kind(&self) -> ProductKind {
        match self.kind {
            Kind::Edr => ProductKind::Edr,
            Kind::Av => ProductKind::Av,
            Kind::Telemetry => ProductKind::Telemetry,
            Kind::Platform => ProductKind::Platform,
        }
    }
}

impl LinuxProduct {
    /// `path` is one of the product's executables: to the letter, or by its file name in the vendor's own folder.
    pub fn owns(&self, path: &str) -> bool {
        let exact = self.executables.iter().any(|executable| match path.strip_prefix(executable.as_str()) {
            Some("") => true,
            Some(build) => self.build_suffix && decimal(build).is_some(),
            None => false,
        });
        exact || self.folders.iter().any(|folder| self.lies_below(folder, path))
    }

    fn lies_below(&self, folder: &str, path: &str) -> bool {
        let Some(below) = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) else {
            return false;
        };
        let mut parts = below.rsplit('/');
        let file = parts.next();
        let mut folders = 0;
        for part in parts {
            if matches!(part, "" | "." | "..") {
                return false;
            }
            folders += 1;
        }
        folders <= FOLDERS_BELOW_MAX
            && file.is_some_and(|file| self.processes.iter().any(|name| name == file))
    }

    /// A process that hides its path shows this name, so it cannot be told apart from the product.
    pub fn shows(&self, name: &str) -> bool {
        let files = self.executables.iter().filter_map(|path| path.rsplit('/').next());
        let shortened = |full: &str| full.get(..SHORT_NAME_BYTES).unwrap_or(full) == name;
        self.names
            .iter()
            .map(String::as_str)
            .chain(self.processes.iter().map(String::as_str))
            .chain(files)
            .any(shortened)
    }
}

impl Catalogue {
    /// The catalogue of this release; `None` only if the release itself is damaged, which a test excludes.
    pub fn bundled() -> Option<&'static Self> {
        static PARSED: OnceLock<Option<Catalogue>> = OnceLock::new();
        PARSED.get_or_init(|| Self::parse(TEXT).ok()).as_ref()
    }

    /// Reads and checks a catalogue.
    ///
    /// # Errors
    /// When it is not TOML of this shape, or an entry could not be told apart, found or believed.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = toml::from_str(text)?;
        valid::check(&catalogue)?;
        Ok(catalogue)
    }

    /// Products that can be found on Linux, with what proves them.
    pub(crate) fn linux(&self) -> impl Iterator<Item = (&CatalogueProduct, &LinuxProduct)> {
        self.products.iter().filter_map(|product| Some((product, product.linux.as_ref()?)))
    }

    /// Products that can be found on macOS, with what proves them.
    pub(crate) fn macos(&self) -> impl Iterator<Item = (&CatalogueProduct, &MacosProduct)> {
        self.products.iter().filter_map(|product| Some((product, product.macos.as_ref()?)))
    }

    /// Products that can be found on Windows, with what proves them.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (&CatalogueProduct, &WindowsProduct)> {
        self.products.iter().filter_map(|product| Some((product, product.windows.as_ref()?)))
    }
}

/// `catalogue_digest` of an attestation: SHA-256 of the catalogues' texts, that of password managers last.
pub fn catalogue_digest() -> [u8; 32] {
    Sha256::new().chain_update(TEXT).chain_update(crate::password_managers::TEXT).finalize().into()
}

#[cfg(test)]
mod tests;
