//! Tables for people: at most 80 columns, long cells wrapped, nothing from elsewhere that a terminal would obey.

use std::io::{self, Write};

/// Columns of the narrowest terminal that tables must fit.
pub(crate) const WIDTH_COLUMNS: usize = 80;
/// Columns between two cells.
const GAP_COLUMNS: usize = 2;
/// Columns a note below a row is moved in.
const NOTE_INDENT_COLUMNS: usize = 4;
/// Columns below which a cell is not narrowed while another one can be.
const NARROW_COLUMNS: usize = 8;

/// A column's title, and whether its cells may be wrapped before those of others: names are, ids to be copied are not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    wraps: bool,
}

impl Column {
    /// A column that keeps its cells on one line as long as the others leave room.
    pub(crate) const fn firm(title: &'static str) -> Self {
        Self { title, wraps: false }
    }

    /// A column that gives way first.
    pub(crate) const fn wrapping(title: &'static str) -> Self {
        Self { title, wraps: true }
    }
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    note: String,
}

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row of one cell a column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.row_with_note(cells, "");
    }

    /// Adds a row with a sentence of its own below it, over the table's whole width.
    pub(crate) fn row_with_note(&mut self, cells: impl IntoIterator<Item = String>, note: &str) {
        let cells = cells.into_iter().map(|cell| clean(&cell)).collect();
        self.rows.push(Row { cells, note: clean(note) });
    }

    /// Writes the table. No line is longer than [`WIDTH_COLUMNS`].
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths();
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        write_cells(out, &widths, &titles)?;
        for row in &self.rows {
            write_cells(out, &widths, &row.cells)?;
            write_wrapped(out, &row.note, NOTE_INDENT_COLUMNS)?;
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let natural = |(position, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(position)).map(|cell| columns(cell));
            cells.chain(std::iter::once(columns(column.title))).max().unwrap_or_default()
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let gaps = GAP_COLUMNS * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > WIDTH_COLUMNS {
            let wrapping = widths.iter_mut().zip(&self.columns);
            let widest = wrapping
                .filter(|(width, column)| column.wraps && **width > NARROW_COLUMNS)
                .map(|(width, _)| width)
                .max_by_key(|width| **width);
            let narrowed = match widest {
                Some(width) => Some(width),
                None => widths.iter_mut().filter(|width| **width > 1).max_by_key(|width| **width),
            };
            let Some(width) = narrowed else { break };
            *width -= 1;
        }
        widths
    }
}

/// Writes `text` in lines of at most [`WIDTH_COLUMNS`], each moved in by `indent` columns. Nothing for no text.
pub(crate) fn write_wrapped(out: &mut dyn Write, text: &str, indent: usize) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    for line in wrap(text, WIDTH_COLUMNS.saturating_sub(indent)) {
        writeln!(out, "{:indent$}{line}", "")?;
    }
    Ok(())
}

fn write_cells(out: &mut dyn Write, widths: &[usize], cells: &[String]) -> io::Result<()> {
    let wrapped: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or_default();
    for line in 0..height {
        let mut text = String::new();
        for (lines, width) in wrapped.iter().zip(widths) {
            let cell = lines.get(line).map(String::as_str).unwrap_or_default();
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', (width + GAP_COLUMNS).saturating_sub(columns(cell))));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// `text` in lines of at most `width` characters, broken at spaces, and inside words that are longer than a line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if columns(&line) == width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines
}

/// Characters stand for columns: what is printed here is ASCII but for names people chose.
fn columns(text: &str) -> usize {
    text.chars().count()
}

/// `text` without what a terminal would obey: facts and messages come from machines that may be hostile.
pub(crate) fn clean(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if obeyed(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
