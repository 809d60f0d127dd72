//! unit.json: what was drawn, how it was judged, and which statements say so.

use crate::ids::{InstanceId, UnitId};
use crate::json::{self, JsonError, Members, Value, object};

/// Why a unit is in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitRole {
    /// Drawn.
    Selected,
    /// Drawn in advance, to stand in.
    Reserve,
}

impl UnitRole {
    /// The name in unit.json.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Selected => "selected",
            Self::Reserve => "reserve",
        }
    }
}

/// A statement of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementRef {
    /// Leaf index.
    pub index: u64,
    /// Number within its instance.
    pub sequence: u64,
    /// The instance.
    pub instance: InstanceId,
    /// Whether it counts for the unit's state.
    pub counts: bool,
}

/// A statement of a unit whose payload was erased: its leaf is there, and the tombstone that says why no more is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedRef {
    /// Leaf index.
    pub index: u64,
    /// Number within its instance, as the log kept it.
    pub sequence: u64,
    /// The instance, as the log kept it.
    pub instance: InstanceId,
    /// Whether it may have counted for the unit's state.
    pub counts: bool,
    /// Index of the tombstone.
    pub tombstone: u64,
}

/// unit.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitView {
    /// The unit.
    pub unit: UnitId,
    /// Its ticket in the draw.
    pub ticket: String,
    /// Selected or reserve.
    pub role: UnitRole,
    /// State of section 9.
    pub state: String,
    /// Why.
    pub because: String,
    /// The deciding leaf.
    pub decided_by: Option<u64>,
    /// The policy that judged.
    pub policy_index: Option<u64>,
    /// Ascending by index.
    pub statements: Vec<StatementRef>,
    /// Ascending by index.
    pub erased: Vec<ErasedRef>,
}

fn index_list(index: Option<u64>) -> Value {
    Value::Array(index.into_iter().map(json::count).collect())
}

fn take_index(members: &mut Members, key: &str) -> Result<Option<u64>, JsonError> {
    match members.array(key)?.as_slice() {
        [] => Ok(None),
        [Value::Integer(index)] => {
            u64::try_from(*index).map(Some).map_err(|_| members.problem(key, "must not be negative"))
        }
        _ => Err(members.problem(key, "must have no or one index")),
    }
}

impl UnitView {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let statements = self
            .statements
            .iter()
            .map(|statement| {
                object([
                    ("index", json::count(statement.index)),
                    ("sequence", json::count(statement.sequence)),
                    ("instance", json::text(statement.instance.to_string())),
                    ("counts", json::count(statement.counts.into())),
                ])
            })
            .collect();
        let erased = self
            .erased
            .iter()
            .map(|erased| {
                object([
                    ("index", json::count(erased.index)),
                    ("sequence", json::count(erased.sequence)),
                    ("instance", json::text(erased.instance.to_string())),
                    ("counts", json::count(erased.counts.into())),
                    ("tombstone", json::count(erased.tombstone)),
                ])
            })
            .collect();
        object([
            ("unit", json::text(self.unit.to_string())),
            ("ticket", json::text(&self.ticket)),
            ("role", json::text(self.role.as_str())),
            ("state", json::text(&self.state)),
            ("because", json::text(&self.because)),
            ("decided_by", index_list(self.decided_by)),
            ("policy_index", index_list(self.policy_index)),
            ("statements", Value::Array(statements)),
            ("erased", Value::Array(erased)),
        ])
        .to_bytes()
    }

    /// Reads unit.json; statements, and what is erased, must ascend by index.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut members = Members::of(Value::parse(bytes)?, "")?;
        let statements = members
            .objects("statements")?
            .into_iter()
            .map(|mut item| {
                let statement = StatementRef {
                    index: item.count("index")?,
                    sequence: item.count("sequence")?,
                    instance: item.parsed("instance")?,
                    counts: item.flag("counts")?,
                };
                item.finish()?;
                Ok(statement)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        if !statements.is_sorted_by(|a, b| a.index < b.index) {
            return Err(members.problem("statements", "must ascend by index, each once"));
        }
        let erased = members
            .objects("erased")?
            .into_iter()
            .map(|mut item| {
                let erased = ErasedRef {
                    index: item.count("index")?,
                    sequence: item.count("sequence")?,
                    instance: item.parsed("instance")?,
                    counts: item.flag("counts")?,
                    tombstone: item.count("tombstone")?,
                };
                item.finish()?;
                Ok(erased)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        if !erased.is_sorted_by(|a, b| a.index < b.index) {
            return Err(members.problem("erased", "must ascend by index, each once"));
        }
        let role = match members.text("role")?.as_str() {
            "selected" => UnitRole::Selected,
            "reserve" => UnitRole::Reserve,
            _ => return Err(members.problem("role", "must be selected or reserve")),
        };
        let view = Self {
            unit: members.parsed("unit")?,
            ticket: members.text("ticket")?,
            role,
            state: members.text("state")?,
            because: members.text("because")?,
            decided_by: take_index(&mut members, "decided_by")?,
            policy_index: take_index(&mut members, "policy_index")?,
            statements,
            erased,
        };
        members.finish()?;
        Ok(view)
    }
}
