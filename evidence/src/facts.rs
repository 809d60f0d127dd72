//! The facts a condition may ask for: one typed tree per control, made from the observed message or from
//! JSON.
//!
//! A fact that is not in the tree is unknown. docs/FORMAT.md section 9 lists the controls and their lists.

use std::collections::BTreeMap;

mod convert;
mod json;
mod line;
mod schema;

pub use json::FactsError;
pub use schema::{ASSET, Field, Kind, Schema};

/// The controls of this release, ascending: each has a schema, and no policy may name another.
pub const CONTROLS: [&str; 13] = [
    "automatic-updates",
    "device-identity",
    "disk-encryption",
    "edr",
    "host-firewall",
    "local-administrators",
    "mdm-enrolment",
    "os-patch",
    "password-manager",
    "remote-access",
    "screen-lock",
    "secure-boot",
    "time-sync",
];

/// The name of an item of a list that is itself a value.
pub const ITEM: &str = ".";

/// The value of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, the name of an enum value, or `yes`/`no`. Never empty: an empty text is unknown.
    Text(String),
    /// A count, a size or a minute since 1970.
    Integer(u64),
}

/// The items of a list, in the order of the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// The items; one that is itself a value has it under [`ITEM`].
    pub items: Vec<Facts>,
    /// Rows were left out: nothing can be said about all of them.
    pub truncated: bool,
}

/// The known facts of a control, or of one item of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    values: BTreeMap<&'static str, Value>,
    lists: BTreeMap<&'static str, List>,
}

impl Facts {
    /// The facts of an observed message, as a condition sees them. Without any control in it: no facts.
    pub fn of(facts: &proto::Facts) -> Self {
        facts.control.as_ref().map(convert::control).unwrap_or_default()
    }

    /// What a device claims to be, by [`ASSET`]. For people: no condition can ask for it, the roster decides.
    pub fn of_asset(claim: &proto::AssetClaim) -> Self {
        convert::asset(claim)
    }

    /// The fact `name`; `None` is unknown.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The list `name`; `None` where the facts have no such list.
    pub fn list(&self, name: &str) -> Option<&List> {
        self.lists.get(name)
    }
}

/// The control whose message `facts` holds, by its id.
pub fn control_of(facts: &proto::Facts) -> Option<&'static str> {
    use proto::facts::Control;
    facts.control.as_ref().map(|control| match control {
        Control::AutomaticUpdates(_) => "automatic-updates",
        Control::DeviceIdentity(_) => "device-identity",
        Control::DiskEncryption(_) => "disk-encryption",
        Control::Edr(_) => "edr",
        Control::HostFirewall(_) => "host-firewall",
        Control::LocalAdministrators(_) => "local-administrators",
        Control::MdmEnrolment(_) => "mdm-enrolment",
        Control::OsPatch(_) => "os-patch",
        Control::PasswordManager(_) => "password-manager",
        Control::RemoteAccess(_) => "remote-access",
        Control::ScreenLock(_) => "screen-lock",
        Control::SecureBoot(_) => "secure-boot",
        Control::TimeSync(_) => "time-sync",
    })
}

/// The schema of a control's facts; `None` for a control this release does not know.
pub fn schema(control: &str) -> Option<&'static Schema> {
    schema::of(control)
}

#[cfg(test)]
pub(crate) mod tests;
