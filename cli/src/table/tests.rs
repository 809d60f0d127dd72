use proptest::prelude::*;

use super::*;

fn written(table: &Table) -> String {
    let mut out = Vec::new();
    table.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_that_fits_is_not_wrapped() {
    let mut table = Table::new([Column::firm("DEVICE"), Column::firm("STATE")]);
    table.row_with_note(["d-1".to_owned(), "PASS".to_owned()], "volume / is encrypted");
    table.row(["d-22".to_owned(), "MISSING".to_owned()]);
    assert_eq!(written(&table), "DEVICE  STATE\nd-1     PASS\n    volume / is encrypted\nd-22    MISSING\n");
}

#[test]
fn ids_stay_whole_while_names_can_give_way() {
    let id = format!("d-{}", "a".repeat(26));
    let mut table = Table::new([Column::firm("DEVICE"), Column::wrapping("GROUP"), Column::firm("SEEN")]);
    table.row([id.clone(), "berlin-".repeat(9), "2026-11-22 09:07Z".to_owned()]);
    let text = written(&table);
    assert!(text.contains(&id), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH_COLUMNS), "{text}");
}

#[test]
fn a_terminal_obeys_nothing_in_a_cell() {
    assert_eq!(clean("a\u{1b}[31mb\rc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
    let mut table = Table::new([Column::firm("X")]);
    table.row_with_note(["\u{1b}]0;title\u{7}".to_owned()], "line\nline");
    assert!(!written(&table).contains('\u{1b}'));
}

proptest! {
    #[test]
    fn no_line_is_wider_than_a_terminal_and_no_letter_is_lost(
        rows in proptest::collection::vec(
            (proptest::collection::vec("[a-zé ]{0,90}", 5), "[a-z ]{0,200}"), 1..5),
    ) {
        let columns = ["A", "B", "C", "D", "E"];
        let mut table = Table::new(
            columns.iter().enumerate().map(|(i, title)| Column { title, wraps: i % 2 == 0 }).collect::<Vec<_>>(),
        );
        let mut letters = 0;
        for (cells, note) in &rows {
            table.row_with_note(cells.clone(), note);
            letters += cells.iter().chain([note]).map(|c| c.chars().filter(|c| *c != ' ').count()).sum::<usize>();
        }
        let text = written(&table);
        prop_assert!(text.lines().all(|line| line.chars().count() <= WIDTH_COLUMNS));
        prop_assert_eq!(text.chars().filter(|c| !c.is_whitespace()).count(), letters + columns.len());
    }
}
