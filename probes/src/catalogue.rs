//! The catalogue of endpoint security products: data that grows without code.

use std::sync::OnceLock;

use proto::ProductKind;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::linux::mounts::decimal;

/// The catalogue of this release, as reviewed text.
const TEXT: &str = include_str!("../catalogue/edr.toml");

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
    kind: Kind,
    /// What proves it on Linux.
    pub linux: LinuxProduct,
}

/// What proves a product on Linux.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinuxProduct {
    /// Exact paths of its process's executable.
    pub executables: Vec<String>,
    /// The path is followed by a build number.
    #[serde(default)]
    pub build_suffix: bool,
    /// Short names its process shows.
    pub names: Vec<String>,
    /// Its systemd unit.
    pub unit: String,
    /// Its Debian package.
    pub package: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
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
    /// `path` is one of the product's executables, to the letter.
    pub fn owns(&self, path: &str) -> bool {
        self.executables.iter().any(|executable| match path.strip_prefix(executable.as_str()) {
            Some("") => true,
            Some(build) => self.build_suffix && decimal(build).is_some(),
            None => false,
        })
    }
}

impl Catalogue {
    /// The catalogue of this release; `None` only if the release itself is damaged, which a test excludes.
    pub fn bundled() -> Option<&'static Self> {
        static PARSED: OnceLock<Option<Catalogue>> = OnceLock::new();
        PARSED.get_or_init(|| toml::from_str(TEXT).ok()).as_ref()
    }
}

/// `catalogue_digest` of an attestation: SHA-256 of the catalogue's text.
pub fn catalogue_digest() -> [u8; 32] {
    Sha256::digest(TEXT.as_bytes()).into()
}

#[cfg(test)]
mod tests;
