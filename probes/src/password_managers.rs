//! The catalogue of password managers, and what its products' findings add up to.

use std::sync::OnceLock;

use proto::{ManagerProduct, PasswordManager, facts::Control};
use serde::Deserialize;

use crate::drive::Outcome;

/// The catalogue of this release, as reviewed text.
pub(crate) const TEXT: &str = include_str!("../catalogue/password_managers.toml");
/// Most rows of a list of facts (docs/FORMAT.md section 3).
const MANAGERS_MAX: usize = 256;

/// Products, ascending by id.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    /// Date of the last review, `YYYY-MM-DD`.
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who review the catalogue; a test reads it"))]
    pub(crate) updated: String,
    /// One entry per product.
    #[serde(rename = "product")]
    pub(crate) products: Vec<Product>,
}

/// One product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    /// Name in the facts, `[a-z0-9-]`.
    pub(crate) id: String,
    /// Name a person knows it by.
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who review the catalogue; a test reads it"))]
    pub(crate) name: String,
    /// Where the entry's facts come from.
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who review the catalogue; a test reads it"))]
    pub(crate) sources: Vec<String>,
    /// Where it lies on Linux.
    pub(crate) linux: Option<LinuxManager>,
    /// Where it lies on macOS.
    pub(crate) macos: Option<MacosManager>,
    /// Where it is registered on Windows.
    pub(crate) windows: Option<WindowsManager>,
}

/// Where a product lies on Linux.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LinuxManager {
    /// Exact paths.
    pub(crate) executables: Vec<String>,
    /// Ids of Flatpak applications.
    pub(crate) flatpaks: Vec<String>,
    /// Names of snaps.
    pub(crate) snaps: Vec<String>,
}

/// Where a product lies on macOS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MacosManager {
    /// Folders in /Applications.
    pub(crate) apps: Vec<String>,
    /// Ids one of which the application must have.
    pub(crate) bundles: Vec<String>,
}

/// Where a product is registered on Windows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WindowsManager {
    /// Names of keys below `Uninstall`.
    pub(crate) keys: Vec<String>,
    /// What display names begin with.
    pub(crate) names: Vec<String>,
}

impl WindowsManager {
    /// A display name is the product's own, alone or with a version or the like behind it.
    pub(crate) fn is_called(&self, display: &str) -> bool {
        self.names.iter().any(|name| {
            display.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }
}

impl Catalogue {
    /// The catalogue of this release; `None` only if the release itself is damaged, which a test excludes.
    pub(crate) fn bundled() -> Option<&'static Self> {
        static PARSED: OnceLock<Option<Catalogue>> = OnceLock::new();
        PARSED.get_or_init(|| toml::from_str(TEXT).ok()).as_ref()
    }

    /// Products that can be found on a platform, with where.
    pub(crate) fn on<'a, T: 'a>(
        &'a self,
        platform: impl Fn(&'a Product) -> Option<&'a T>,
    ) -> impl Iterator<Item = (&'a str, &'a T)> {
        self.products.iter().filter_map(move |product| Some((product.id.as_str(), platform(product)?)))
    }
}

/// What was found of a product in one place or several: one is enough, and one doubt is a doubt.
pub(crate) fn any(found: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut any = Some(false);
    for this in found {
        any = match (any, this) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
    }
    any
}

/// The facts of what was found of each product of a platform, ascending by product.
pub(crate) fn observed(found: &[(&str, Option<bool>)]) -> Outcome {
    let mut managers: Vec<ManagerProduct> = found
        .iter()
        .filter(|(_, installed)| *installed != Some(false))
        .map(|(product, installed)| ManagerProduct { product: (*product).to_owned(), installed: *installed })
        .collect();
    let managers_truncated = managers.len() > MANAGERS_MAX;
    managers.truncate(MANAGERS_MAX);
    Outcome::observed(Control::PasswordManager(PasswordManager {
        installed: any(found.iter().map(|(_, installed)| *installed)),
        managers,
        managers_truncated,
    }))
}

#[cfg(test)]
mod tests;
