use super::*;

fn file(text: &str) -> Answer {
    Answer::Bytes(text.as_bytes().to_vec())
}

#[test]
fn quotes_comments_and_the_second_place() {
    let text = "# comment\nID=ubuntu\nVERSION_ID=\"22.04\"\nNAME='A \\'b'\n\nVERSION_CODENAME=jammy\n";
    let release = parse([&Answer::Absent, &file(text)]).unwrap();
    assert_eq!(release.id, "ubuntu");
    assert_eq!(release.version.as_deref(), Some("22.04"));
    assert_eq!(release.codename.as_deref(), Some("jammy"));
}

#[test]
fn the_second_place_does_not_replace_an_unreadable_first() {
    assert_eq!(parse([&Answer::Denied, &file("ID=debian\n")]), None);
}

#[test]
fn damaged_files_are_refused() {
    for text in ["", "ID=deb", "NAME=x\n", "ID=\n", "ID=\"debian\n", "no value\n"] {
        assert_eq!(parse([&file(text), &Answer::Absent]), None, "{text}");
    }
}
