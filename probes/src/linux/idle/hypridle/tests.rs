use super::*;

fn told(text: Option<&str>) -> Told {
    let mut told = Told::default();
    read(text.map(|text| text.lines().collect()), &mut told);
    told
}

#[test]
fn listeners_and_the_lock_command_are_told() {
    let told = told(Some(
        "general {\n lock_cmd = pidof hyprlock || hyprlock\n}\nlistener {\n timeout = 300\n on-timeout = loginctl \
         lock-session\n}\nlistener {\n on-timeout = hyprctl dispatch dpms off\n timeout = 330\n}\nlistener {\n \
         timeout = 900\n}\n",
    ));
    assert!(told.on_lock.is_some_and(|command| command.is_lock()));
    let timers: Vec<(u32, Command)> = told.timers.into_iter().map(|t| (t.seconds, t.command)).collect();
    assert_eq!(timers, [(300, Command::Request), (330, Command::Other), (900, Command::Other)]);
    assert!(!told.unclear);
}

#[test]
fn without_its_file_and_with_words_for_numbers_it_is_unclear() {
    for text in [None, Some("source = x\n"), Some("listener {\n timeout = soon\n on-timeout = hyprlock\n}\n")]
    {
        let told = told(text);
        assert!(told.unclear && told.timers.is_empty(), "{text:?}");
    }
}
