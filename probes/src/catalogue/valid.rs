//! What a catalogue must be before it is believed.

use std::path::Path;

use super::{Catalogue, CatalogueProduct, LinuxProduct, MacosProduct, WindowsProduct};
use crate::{health::HealthCommand, platform::Platform};

/// Characters of an Apple Team ID.
const TEAM_BYTES: usize = 10;

/// Characters of a GUID between its braces.
const GUID_BYTES: usize = 36;

/// Why a text is not a catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML of the catalogue's shape.
    #[error("not a catalogue: {0}")]
    Toml(#[from] toml::de::Error),
    /// Ids are names in signed facts.
    #[error("product `{0}`: an id is made of a-z, 0-9 and -")]
    Id(String),
    /// Ids ascend, so none can appear twice.
    #[error("product `{0}`: list products ascending by id, each once")]
    Order(String),
    /// A claim nobody can check.
    #[error("product `{0}`: name its sources")]
    Sources(String),
    /// No platform at all.
    #[error("product `{0}`: describe it for at least one of linux, macos, windows")]
    NoPlatform(String),
    /// Nothing but names, which anybody can choose.
    #[error("product `{0}`, {1}: nothing there proves it; a name alone does not")]
    NoProof(String, &'static str),
    /// A value that cannot be what it stands for.
    #[error("product `{0}`, {1}: `{2}` is not {3}")]
    Value(String, &'static str, String, &'static str),
}

/// Checks every entry.
pub(super) fn check(catalogue: &Catalogue) -> Result<(), CatalogueError> {
    let mut before = "";
    for product in &catalogue.products {
        let id = &product.id;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.is_empty() || !id.bytes().all(allowed) {
            return Err(CatalogueError::Id(id.clone()));
        }
        if id.as_str() <= before {
            return Err(CatalogueError::Order(id.clone()));
        }
        before = id;
        if product.sources.is_empty() || product.name.is_empty() {
            return Err(CatalogueError::Sources(id.clone()));
        }
        check_platforms(product)?;
    }
    Ok(())
}

fn check_platforms(product: &CatalogueProduct) -> Result<(), CatalogueError> {
    let id = &product.id;
    if let Some(linux) = &product.linux {
        check_linux(id, linux)?;
    }
    if let Some(macos) = &product.macos {
        check_macos(id, macos)?;
    }
    if let Some(windows) = &product.windows {
        check_windows(id, windows)?;
    }
    if product.linux.is_none() && product.macos.is_none() && product.windows.is_none() {
        return Err(CatalogueError::NoPlatform(id.clone()));
    }
    Ok(())
}

fn check_linux(id: &str, linux: &LinuxProduct) -> Result<(), CatalogueError> {
    let in_folders = !linux.folders.is_empty() && !linux.processes.is_empty();
    if linux.executables.is_empty() && !in_folders {
        return Err(CatalogueError::NoProof(id.to_owned(), "linux"));
    }
    let value = |what, value: &str, should| value_error(id, "linux", what, value, should);
    for path in linux.executables.iter().chain(&linux.folders) {
        value(is_absolute(path), path, "an absolute path")?;
    }
    for name in linux.processes.iter().chain(&linux.names) {
        value(is_name(name), name, "a file name")?;
    }
    for package in linux.deb.iter().chain(&linux.rpm) {
        value(is_name(package), package, "a package's name")?;
    }
    if let Some(unit) = &linux.unit {
        value(is_name(unit) && unit.ends_with(".service"), unit, "a unit that ends in .service")?;
    }
    check_health(id, "linux", linux.health, Platform::Linux)
}

fn check_macos(id: &str, macos: &MacosProduct) -> Result<(), CatalogueError> {
    let signed = macos.team.is_some() && !(macos.processes.is_empty() && macos.extension_prefixes.is_empty());
    let proofs = [&macos.bundles, &macos.extensions, &macos.labels, &macos.paths];
    if !signed && proofs.iter().all(|list| list.is_empty()) {
        return Err(CatalogueError::NoProof(id.to_owned(), "macos"));
    }
    let value = |what, value: &str, should| value_error(id, "macos", what, value, should);
    for path in macos.paths.iter().chain(&macos.executables) {
        value(is_absolute(path), path, "an absolute path")?;
    }
    for team in macos.team.iter().chain(&macos.other_teams) {
        let characters = team.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        value(characters && team.len() == TEAM_BYTES, team, "a Team ID of 10 letters and digits")?;
    }
    let dotted = [&macos.bundles, &macos.extensions, &macos.extension_prefixes, &macos.labels];
    for name in dotted.into_iter().flatten() {
        value(name.contains('.') && is_name(name), name, "an id with dots")?;
    }
    check_health(id, "macos", macos.health, Platform::Macos)
}

/// A program that does not exist on the platform cannot vouch there.
fn check_health(
    id: &str,
    name: &'static str,
    health: Option<HealthCommand>,
    platform: Platform,
) -> Result<(), CatalogueError> {
    let exists = health.is_none_or(|command| command.program(platform).is_some());
    value_error(id, name, exists, "health", "a program of this platform")
}

fn check_windows(id: &str, windows: &WindowsProduct) -> Result<(), CatalogueError> {
    if windows.services.is_empty() && windows.paths.is_empty() && windows.drivers.is_empty() {
        return Err(CatalogueError::NoProof(id.to_owned(), "windows"));
    }
    let value = |what, value: &str, should| value_error(id, "windows", what, value, should);
    for path in &windows.paths {
        let absolute = path.get(1..3) == Some(":\\") && !path.contains("..") && !path.ends_with('\\');
        value(absolute, path, "an absolute path")?;
    }
    for image in &windows.images {
        let is_program = Path::new(image).extension().is_some_and(|extension| extension == "exe");
        value(is_program && !image.contains('\\'), image, "a file name that ends in .exe")?;
    }
    if let Some(guid) = &windows.security_center {
        let inside = guid.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        let digits = inside.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        value(inside.len() == GUID_BYTES && digits, guid, "a GUID in braces")?;
    }
    Ok(())
}

fn value_error(
    id: &str,
    platform: &'static str,
    is_good: bool,
    value: &str,
    should: &'static str,
) -> Result<(), CatalogueError> {
    if is_good {
        return Ok(());
    }
    Err(CatalogueError::Value(id.to_owned(), platform, value.to_owned(), should))
}

/// Begins at the root, and no part of it leads elsewhere.
fn is_absolute(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// One word that cannot be a path or several arguments.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && !name.contains(|c: char| c == '/' || c == '*' || c.is_whitespace())
}
