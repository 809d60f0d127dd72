//! The population file: the frozen list of everything that can be drawn.

use crate::ids::Digest;

/// Longest line, in bytes: unit ids have about a hundred, other people's lists some more.
pub const UNIT_BYTES_MAX: usize = 1_024;

/// A population in its one canonical form: a unit a line, bytewise sorted, unique, LF after each line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population {
    text: String,
    count: u64,
}

/// Why a population was refused; lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PopulationError {
    /// The last line does not end.
    #[error("line {line} does not end with a line feed: every line must, the last one too")]
    NoLineFeed {
        /// The last line.
        line: u64,
    },
    /// A line holds bytes that are no text.
    #[error("line {line} is not UTF-8 text")]
    NotText {
        /// Where.
        line: u64,
    },
    /// A line with nothing on it.
    #[error("line {line} is empty: write one unit on each line and nothing else")]
    Empty {
        /// Where.
        line: u64,
    },
    /// A carriage return, a line feed inside a unit, or a NUL.
    #[error("line {line} holds a {character}: save the file with line feeds only and as plain text")]
    Forbidden {
        /// Where.
        line: u64,
        /// Its name.
        character: &'static str,
    },
    /// A line above [`UNIT_BYTES_MAX`].
    #[error("line {line} has {bytes} bytes, and a unit may have {UNIT_BYTES_MAX}")]
    TooLong {
        /// Where.
        line: u64,
        /// Its length.
        bytes: usize,
    },
    /// A unit that stands there twice would be drawn twice as often.
    #[error("line {line} repeats the unit above it: each unit may stand there once")]
    Repeated {
        /// Where.
        line: u64,
    },
    /// A line that belongs above the one before it.
    #[error("line {line} is out of order: sort the file by its bytes (`LC_ALL=C sort -u`)")]
    Unsorted {
        /// Where.
        line: u64,
    },
}

impl Population {
    /// The population in the bytes of a population file. A file of no bytes is a population of no units.
    pub fn parse(bytes: &[u8]) -> Result<Self, PopulationError> {
        let mut count = 0_u64;
        let mut text = String::with_capacity(bytes.len());
        let mut previous: &str = "";
        for raw in bytes.split_inclusive(|byte| *byte == b'\n') {
            count += 1;
            let line = count;
            let Some(raw) = raw.strip_suffix(b"\n") else {
                return Err(PopulationError::NoLineFeed { line });
            };
            let unit = str::from_utf8(raw).map_err(|_| PopulationError::NotText { line })?;
            check_unit(unit, line)?;
            check_order(previous, unit, line)?;
            text.push_str(unit);
            text.push('\n');
            previous = unit;
        }
        Ok(Self { text, count })
    }

    /// The population of these units, in any order; errors name the line of the sorted file.
    pub fn from_units<S: AsRef<str>>(units: impl IntoIterator<Item = S>) -> Result<Self, PopulationError> {
        let mut units: Vec<S> = units.into_iter().collect();
        units.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        let mut count = 0_u64;
        let mut text = String::new();
        let mut previous = "";
        for unit in &units {
            count += 1;
            check_unit(unit.as_ref(), count)?;
            check_order(previous, unit.as_ref(), count)?;
            previous = unit.as_ref();
            text.push_str(previous);
            text.push('\n');
        }
        Ok(Self { text, count })
    }

    /// The bytes of the population file.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// SHA-256 of the population file.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.bytes())
    }

    /// Number of units.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The units, in the order of the file.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator('\n')
    }
}

fn check_unit(unit: &str, line: u64) -> Result<(), PopulationError> {
    if unit.is_empty() {
        return Err(PopulationError::Empty { line });
    }
    for (character, name) in [('\r', "carriage return"), ('\n', "line feed"), ('\0', "NUL")] {
        if unit.contains(character) {
            return Err(PopulationError::Forbidden { line, character: name });
        }
    }
    if unit.len() > UNIT_BYTES_MAX {
        return Err(PopulationError::TooLong { line, bytes: unit.len() });
    }
    Ok(())
}

/// `previous` is empty before the first line, and no unit sorts before the empty text.
fn check_order(previous: &str, unit: &str, line: u64) -> Result<(), PopulationError> {
    match previous.cmp(unit) {
        std::cmp::Ordering::Less => Ok(()),
        std::cmp::Ordering::Equal => Err(PopulationError::Repeated { line }),
        std::cmp::Ordering::Greater => Err(PopulationError::Unsorted { line }),
    }
}
