//! What the registry, WMI, files of users and starts of processes say, as text: typed values under their names, and
//! nothing a language could change.
//!
//! The first line is the question, so that an answer names what it is about. Then per row a line `row` and one line
//! `NAME=number N` or `NAME=text T` for each value that is there; a list is several lines of one name. What does
//! not exist is the one line `absent`. The last line, `end N`, counts the lines before it, without the first: what was
//! cut, or lost a line, is no table.

use crate::question::{Answer, Question};

/// Most lines of a table: some 2,000 keys, 100 volumes with all their values, or a file of settings many times over.
pub const TABLE_LINES_MAX: usize = 8192;

/// Writes a table, as a host does.
#[derive(Debug)]
pub struct TableWriter {
    text: String,
    lines: usize,
}

impl TableWriter {
    /// Begins the answer to a question.
    pub fn new(question: &Question) -> Self {
        Self { text: format!("{question}\n"), lines: 0 }
    }

    /// The answer that the key does not exist.
    pub fn absent(question: &Question) -> Answer {
        let mut table = Self::new(question);
        table.line("absent");
        table.finish()
    }

    /// Begins a row.
    pub fn row(&mut self) {
        self.line("row");
    }

    /// A number of the row.
    pub fn number(&mut self, name: &str, value: u64) {
        self.line(&format!("{name}=number {value}"));
    }

    /// A text of the row. Characters that could end a line are replaced.
    pub fn text(&mut self, name: &str, value: &str) {
        let value: String =
            value.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        self.line(&format!("{name}=text {value}"));
    }

    /// Ends the answer.
    pub fn finish(mut self) -> Answer {
        let lines = self.lines;
        if lines > TABLE_LINES_MAX {
            return Answer::TooLarge;
        }
        self.line(&format!("end {lines}"));
        Answer::Bytes(self.text.into_bytes())
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines = self.lines.saturating_add(1);
    }
}

/// A table that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    /// The rows; none where the key does not exist.
    pub(crate) rows: Vec<Row<'a>>,
}

/// Values under their names, in the order told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    values: Vec<(&'a str, Value<'a>)>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A whole number; yes is 1.
    Number(u64),
    /// Text as it is kept.
    Text(&'a str),
}

impl<'a> Table<'a> {
    /// Reads the answer to `question`; `None` for anything that is not the whole of it.
    pub(crate) fn of(question: &Question, answer: &'a Answer) -> Option<Self> {
        let mut lines: Vec<&str> = answer.whole_text()?.lines().collect();
        let count = lines.pop()?.strip_prefix("end ")?.parse::<usize>().ok()?;
        let (first, lines) = lines.split_first()?;
        if *first != question.to_string() || lines.len() != count || count > TABLE_LINES_MAX {
            return None;
        }
        if lines == ["absent"] {
            return Some(Self { rows: Vec::new() });
        }
        let mut rows: Vec<Row<'a>> = Vec::new();
        for line in lines {
            if *line == "row" {
                rows.push(Row::default());
                continue;
            }
            let (name, value) = line.split_once('=')?;
            let value = match value.split_once(' ')? {
                ("number", number) => Value::Number(number.parse().ok()?),
                ("text", text) => Value::Text(text),
                _ => return None,
            };
            rows.last_mut()?.values.push((name, value));
        }
        Some(Self { rows })
    }

    /// The one row of a key or of a class that has one; `None` for none or several.
    pub(crate) fn only(&self) -> Option<&Row<'a>> {
        match self.rows.as_slice() {
            [row] => Some(row),
            _ => None,
        }
    }
}

impl<'a> Row<'a> {
    /// Every value of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = Value<'a>> {
        self.values.iter().filter(move |(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// The value of a name, when there is exactly one.
    fn one(&self, name: &str) -> Option<Value<'a>> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.one(name)? {
            Value::Number(number) => Some(number),
            Value::Text(_) => None,
        }
    }

    /// The text of a name.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match self.one(name)? {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
