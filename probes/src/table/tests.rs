use super::*;

const QUESTION: Question = Question::WindowsUpdate;

fn sample() -> Answer {
    let mut table = TableWriter::new(&QUESTION);
    table.row();
    table.number("UBR", 4061);
    table.text("Path", r"\\?\Volume{1}\");
    table.text("Path", "a=b c");
    table.row();
    table.text("Name", "two\nend 1\nlines");
    table.finish()
}

#[test]
fn what_is_written_is_read() {
    let answer = sample();
    let table = Table::of(&QUESTION, &answer).unwrap();
    let [one, two] = table.rows.as_slice() else { panic!("{table:?}") };
    assert_eq!(one.number("UBR"), Some(4061));
    assert_eq!(one.text("UBR"), None);
    assert_eq!(one.text("Path"), None, "two values are not one");
    assert_eq!(one.all("Path").count(), 2);
    assert_eq!(two.text("Name"), Some("two\u{fffd}end 1\u{fffd}lines"));
    assert!(table.only().is_none());
    let absent = TableWriter::absent(&QUESTION);
    assert_eq!(Table::of(&QUESTION, &absent).unwrap().rows, []);
}

#[test]
fn what_was_cut_or_belongs_elsewhere_is_no_table() {
    let Answer::Bytes(bytes) = sample() else { panic!() };
    for end in 0..bytes.len() {
        assert_eq!(Table::of(&QUESTION, &Answer::Bytes(bytes[..end].to_vec())), None, "{end}");
    }
    let other = Question::Keys { key: "HKU".to_owned(), prefix: "S" };
    assert_eq!(Table::of(&other, &sample()), None);
    for text in ["windows-update\nX=number 1\nend 1\n", "windows-update\nrow\nX=flag 1\nend 2\n"] {
        assert_eq!(Table::of(&QUESTION, &Answer::Bytes(text.into())), None, "{text}");
    }
}
