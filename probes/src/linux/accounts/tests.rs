use super::*;

const PASSWD_TEXT: &str = "\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
alice:x:1000:1000:Alice:/home/alice:/bin/bash
bob:x:1001:27:Bob:/home/bob:/bin/zsh
";
const GROUP_TEXT: &str = "root:x:0:\nsudo:x:27:alice,carol\nempty:x:99:\n";

#[test]
fn members_are_those_named_and_those_whose_first_group_it_is() {
    let accounts = Accounts::parse(PASSWD_TEXT, GROUP_TEXT).unwrap();
    assert_eq!(accounts.members("sudo"), Some(["alice", "bob", "carol"].into()));
    assert_eq!(accounts.members_of(27), accounts.members("sudo"));
    assert_eq!(accounts.members("empty"), Some(BTreeSet::new()));
    assert_eq!(accounts.members("wheel"), None);
    let used: Vec<bool> = ["root", "daemon", "alice", "carol"].map(|name| accounts.may_be_used(name)).into();
    assert_eq!(used, [false, false, true, true]);
}

#[test]
fn a_line_that_is_none_makes_the_whole_unknown() {
    for line in ["alice:x:1000", "+::::::", "a:x:b:1:::/bin/sh", ":x:1:1:::/bin/sh", "a:x:1:1:::/bin/sh:"] {
        assert!(Accounts::parse(&format!("{PASSWD_TEXT}{line}\n"), GROUP_TEXT).is_none(), "{line}");
    }
    for line in ["sudo:x:27", "+:::", "a:x:x:b"] {
        assert!(Accounts::parse(PASSWD_TEXT, &format!("{GROUP_TEXT}{line}\n")).is_none(), "{line}");
    }
    assert!(Accounts::parse("alice:x:1000:1000:::/bin/sh\n", GROUP_TEXT).is_none(), "no root");
}

#[test]
fn only_local_sources_are_local() {
    for (text, is_local) in [
        ("passwd: files systemd\n", Some(true)),
        ("passwd:\tcompat [NOTFOUND=return] files # sss\n", Some(true)),
        ("passwd: files sss\n", Some(false)),
        ("passwd: files\npasswd: ldap\n", Some(false)),
        ("passwd:\n", Some(false)),
        ("group: files\n", None),
    ] {
        assert_eq!(sources(text, "passwd"), is_local, "{text}");
    }
}
