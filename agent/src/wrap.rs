//! Words on lines of a terminal.

/// Columns of a line: what every terminal has.
pub(crate) const COLUMNS: usize = 80;

/// Writes `text` behind `first`, with `indent` spaces before every further line. A word that is longer than a line
/// stays whole, so that an address can be copied.
pub(crate) fn wrap(first: &str, indent: usize, text: &str, out: &mut String) {
    wrap_to(COLUMNS, first, indent, text, out);
}

/// The same for lines of `limit` columns.
pub(crate) fn wrap_to(limit: usize, first: &str, indent: usize, text: &str, out: &mut String) {
    let mut line = if first.is_empty() { " ".repeat(indent) } else { first.to_owned() };
    let mut columns = line.chars().count();
    let mut begun = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = word.chars().count();
        if begun && columns + 1 + wide > limit {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(indent);
            (columns, begun) = (indent, false);
        }
        if begun {
            line.push(' ');
            columns += 1;
        }
        line.push_str(word);
        columns += wide;
        begun = true;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, wrap};

    #[test]
    fn lines_end_before_the_edge_and_nothing_is_lost() {
        let text = "a word and another ".repeat(20);
        let mut out = String::new();
        wrap("label  ", 7, &text, &mut out);
        assert!(out.lines().count() > 3 && out.lines().all(|line| line.chars().count() <= COLUMNS), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("       ")), "{out}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&out)[1..], words(&text));
        let mut out = String::new();
        let long = "x".repeat(2 * COLUMNS);
        wrap("", 3, &format!("see {long}"), &mut out);
        assert_eq!(out, format!("   see\n   {long}\n"));
    }
}
