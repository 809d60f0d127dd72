//! The policy act's members. Replaced by the full rules.

use crate::ids::Name;
use crate::json::{self, JsonError, Members, Value};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its id.
    pub policy: Name,
    /// For people.
    pub title: String,
    /// Its controls.
    pub controls: Value,
}

impl Policy {
    pub(crate) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            policy: members.parsed("policy")?,
            title: members.text("title")?,
            controls: members.value("controls")?,
        })
    }

    pub(crate) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("policy", json::text(self.policy.as_str())),
            ("title", json::text(&self.title)),
            ("controls", self.controls.clone()),
        ]
    }
}
