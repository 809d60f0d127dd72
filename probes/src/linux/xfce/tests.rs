use super::*;

#[test]
fn a_dictionary_is_read_whole_or_not_at_all() {
    let line = "({'/lock/enabled': <true>, '/saver/idle-activation/delay': <5>, \
                '/saver/themes/list': <['a>b', \"it's\"]>, '/x': <<uint32 7>>},)";
    let values = dictionary(line).unwrap();
    assert_eq!(values.len(), 4);
    assert_eq!(values["/saver/idle-activation/delay"], "5");
    assert_eq!(values["/saver/themes/list"], "['a>b', \"it's\"]");
    assert_eq!(values["/x"], "<uint32 7>");
    for end in 0..line.len() {
        let cut = line.get(..end).unwrap();
        assert_eq!(dictionary(cut), None, "{cut}");
    }
    assert_eq!(dictionary("(@a{sv} {},)"), Some(BTreeMap::new()));
    assert_eq!(dictionary("({'/a': <1>, '/a': <2>},)"), None);
    assert_eq!(dictionary("({'/a': <1>, },)"), None);
    assert_eq!(dictionary("(true,)"), None);
}

#[test]
fn the_channel_is_locked_as_a_whole_or_not() {
    let locked = |text: &str| locked(&text.lines().collect::<Vec<_>>());
    let open = r#"<channel name="xfce4-screensaver" version="1.0">"#;
    assert_eq!(locked(open), Some(false));
    assert_eq!(locked(r#"<channel name="xfce4-screensaver" version="1.0" locked="*">"#), Some(true));
    assert_eq!(locked(r#"<channel name="xfce4-screensaver" version="1.0" locked="alex">"#), Some(false));
    let exception =
        "<channel name=\"xfce4-screensaver\" locked=\"*\">\n<property name=\"x\" unlocked=\"alex\">";
    assert_eq!(locked(exception), Some(false));
    assert_eq!(locked("<?xml version=\"1.0\"?>"), None);
}
