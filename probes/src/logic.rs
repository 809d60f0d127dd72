//! Three-valued "and": what could not be seen is neither yes nor no.

/// No if one part is no, yes if all are yes, else unknown.
pub(crate) fn all_of<const N: usize>(parts: [Option<bool>; N]) -> Option<bool> {
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    parts.iter().all(|part| *part == Some(true)).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::all_of;

    #[test]
    fn one_no_is_no_and_one_doubt_is_doubt() {
        assert_eq!(all_of([Some(true), Some(true)]), Some(true));
        assert_eq!(all_of([Some(true), None]), None);
        assert_eq!(all_of([None, Some(false)]), Some(false));
    }
}
