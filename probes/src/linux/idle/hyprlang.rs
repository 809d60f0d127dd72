//! The language of Hyprland's settings: `name = value` in categories, with variables.

/// One assignment, with the categories around it, each by its number in the file and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment<'a> {
    /// Number of the category it is in, 0 outside of all.
    pub(crate) category: usize,
    /// Names of the categories, the outermost first, joined by `:`.
    pub(crate) path: String,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its value, variables replaced.
    pub(crate) value: String,
}

/// The assignments of a file; `None` when it takes in other files or has something that is not understood.
pub(crate) fn parse<'a>(lines: &[&'a str]) -> Option<Vec<Assignment<'a>>> {
    let mut variables: Vec<(&str, String)> = Vec::new();
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut count: usize = 0;
    let mut all = Vec::new();
    for line in lines {
        let line = without_comment(line)?.trim();
        if line.is_empty() {
            continue;
        }
        if line == "}" {
            open.pop()?;
        } else if let Some(name) = line.strip_suffix('{') {
            count = count.checked_add(1)?;
            open.push((count, name.trim()));
        } else {
            let (name, value) = line.split_once('=')?;
            let (name, value) = (name.trim(), replaced(value.trim(), &variables));
            if let Some(variable) = name.strip_prefix('$') {
                variables.retain(|(known, _)| *known != variable);
                variables.push((variable, value));
                // The longest name is the one that is meant.
                variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
                continue;
            }
            if name == "source" || line.contains(['{', '}']) {
                return None;
            }
            let path: Vec<&str> = open.iter().map(|(_, name)| *name).collect();
            let category = open.last().map_or(0, |(number, _)| *number);
            // Outside of a category its name may stand before a value's.
            all.push(Assignment { category, path: path.join(":"), name, value });
        }
    }
    open.is_empty().then_some(all)
}

/// The line up to its comment; `##` is one sign that begins none, and not understood here.
fn without_comment(line: &str) -> Option<&str> {
    match line.split_once('#') {
        Some((before, after)) if after.starts_with('#') && !before.trim().is_empty() => None,
        Some((before, _)) => Some(before),
        None => Some(line),
    }
}

fn replaced(value: &str, variables: &[(&str, String)]) -> String {
    let mut value = value.to_owned();
    for (name, text) in variables {
        value = value.replace(&format!("${name}"), text);
    }
    value
}

#[cfg(test)]
mod tests;
