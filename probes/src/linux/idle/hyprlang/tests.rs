use super::*;

fn found(text: &str) -> Option<Vec<(usize, String, String, String)>> {
    let all = parse(&text.lines().collect::<Vec<_>>())?;
    Some(all.into_iter().map(|a| (a.category, a.path, a.name.to_owned(), a.value)).collect())
}

#[test]
fn assignments_know_their_category() {
    let text = "# a comment\n$lock = hyprlock\n$lock_more = x\ngeneral {\n  lock_cmd = pidof $lock || $lock # here\n}\n\
                listener {\n    timeout = 300\n}\nlistener {\n    timeout = 600\n}\ngeneral:grace = 5\n";
    let row = |category, path: &str, name: &str, value: &str| {
        (category, path.to_owned(), name.to_owned(), value.to_owned())
    };
    let expected = vec![
        row(1, "general", "lock_cmd", "pidof hyprlock || hyprlock"),
        row(2, "listener", "timeout", "300"),
        row(3, "listener", "timeout", "600"),
        row(0, "", "general:grace", "5"),
    ];
    assert_eq!(found(text), Some(expected));
}

#[test]
fn other_files_and_halves_are_not_understood() {
    for text in [
        "source = ~/more.conf\n",
        "general {\n",
        "}\n",
        "general {\n  word\n}\n",
        "a = {b}\n",
        "a = 1 ## 2\n",
    ] {
        assert_eq!(found(text), None, "{text}");
    }
}

#[test]
fn the_longest_variable_is_meant() {
    let expected = (0, String::new(), "c".to_owned(), "2 1".to_owned());
    assert_eq!(found("$a = 1\n$ab = 2\nc = $ab $a\n"), Some(vec![expected]));
}
