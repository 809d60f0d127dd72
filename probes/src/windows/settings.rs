//! Numbers of registry keys, and which of two keys wins: what an administrator forces, or what the machine was set to.

use crate::table::Table;

/// What one value of a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// There is no such value, or no such key.
    Unset,
    /// A number.
    Is(u64),
    /// A value that is no number, or stands there twice.
    Strange,
}

impl Setting {
    /// The value of a name.
    pub(crate) fn of(table: &Table<'_>, name: &str) -> Self {
        let [row] = table.rows.as_slice() else {
            return if table.rows.is_empty() { Self::Unset } else { Self::Strange };
        };
        match (row.all(name).next(), row.number(name)) {
            (None, _) => Self::Unset,
            (Some(_), Some(number)) => Self::Is(number),
            (Some(_), None) => Self::Strange,
        }
    }

    /// The setting in force: the first of these that is set.
    pub(crate) fn first_set<const N: usize>(settings: [Self; N]) -> Self {
        settings.into_iter().find(|setting| *setting != Self::Unset).unwrap_or(Self::Unset)
    }

    /// 1 and 0 as yes and no.
    pub(crate) fn flag(self) -> Option<bool> {
        match self {
            Self::Is(0) => Some(false),
            Self::Is(1) => Some(true),
            _ => None,
        }
    }
}
