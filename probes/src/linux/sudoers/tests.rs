use serde_json::json;

use super::*;

fn spec(users: Value, commands: Value) -> Value {
    json!({"User_List": users, "Host_List": [{"hostname": "ALL"}], "Cmnd_Specs": [commands]})
}

fn all() -> Value {
    json!({"runasusers": [{"username": "ALL"}], "Options": [{"setenv": true}], "Commands": [{"command": "ALL"}]})
}

fn rules(specs: &[Value]) -> Value {
    json!({"Defaults": [{"Options": [{"env_reset": true}]}], "User_Specs": specs})
}

#[test]
fn a_rule_for_everything_makes_administrators_and_one_for_a_program_does_not() {
    let some = json!({"runasusers": [{"username": "root"}], "Options": [{"authenticate": false}],
        "Commands": [{"command": "/usr/bin/apt"}]});
    let sudoers = rules(&[
        spec(json!([{"username": "root"}]), all()),
        spec(json!([{"usergroup": "sudo"}, {"userid": 1005}, {"username": "bob", "negated": true}]), all()),
        spec(json!([{"netgroup": "ops"}]), all()),
        spec(json!([{"username": "carol"}]), some),
    ]);
    let rules = Rules::of(&sudoers).unwrap();
    assert_eq!(rules.administrators, [Who::Group("sudo"), Who::Uid(1005), Who::Directory]);
    assert_eq!((rules.passwordless, rules.limited), (1, 1));
}

#[test]
fn another_user_than_root_is_no_administrator() {
    let as_user = |runas: Value| {
        let mut commands = all();
        commands["runasusers"] = runas;
        rules(&[spec(json!([{"username": "dave"}]), commands)])
    };
    let administrators = |sudoers: &Value| Rules::of(sudoers).map(|rules| rules.administrators.len());
    assert_eq!(administrators(&as_user(json!([{"username": "www-data"}]))), Some(0));
    assert_eq!(administrators(&as_user(json!([{"userid": 33}]))), Some(0));
    assert_eq!(administrators(&as_user(json!([{"userid": 0}]))), Some(1));
    assert_eq!(administrators(&as_user(json!([{"usergroup": "wheel"}]))), Some(1));
    assert_eq!(administrators(&as_user(json!([]))), None);
}

#[test]
fn passwords_may_be_switched_off_for_all_and_for_some() {
    let mut sudoers = rules(&[spec(json!([{"username": "alice"}]), all())]);
    sudoers["Defaults"] = json!([{"Options": [{"authenticate": false}]}]);
    assert_eq!(Rules::of(&sudoers).unwrap().passwordless, 1);
    sudoers["Defaults"] =
        json!([{"Binding": [{"usergroup": "wheel"}], "Options": [{"authenticate": false}]}]);
    assert_eq!(Rules::of(&sudoers).unwrap().passwordless, 1);
    sudoers["Defaults"] = json!([{"Options": [{"authenticate": true}]}]);
    assert_eq!(Rules::of(&sudoers).unwrap().passwordless, 0);
}

#[test]
fn everybody_with_roots_password_is_nobody() {
    let mut sudoers = rules(&[spec(json!([{"username": "ALL"}]), all())]);
    assert_eq!(Rules::of(&sudoers).unwrap().administrators, [Who::Everybody]);
    sudoers["Defaults"] = json!([{"Options": [{"targetpw": true}]}]);
    assert_eq!(Rules::of(&sudoers).unwrap(), Rules::default());
    sudoers["User_Specs"][0]["Cmnd_Specs"][0]["Options"] = json!([{"authenticate": false}]);
    assert_eq!(Rules::of(&sudoers).unwrap().administrators, [Who::Everybody]);
}

#[test]
fn what_is_not_known_makes_the_whole_unknown() {
    for users in [json!([{"useralias": "ADMINS"}]), json!([]), json!([{"userid": "5"}]), json!(["alice"])] {
        assert_eq!(Rules::of(&rules(&[spec(users.clone(), all())])), None, "{users}");
    }
    for commands in [json!([]), json!([{"cmndalias": "PK"}]), json!({})] {
        let commands = json!({"Commands": commands});
        assert_eq!(Rules::of(&rules(&[spec(json!([{"username": "a"}]), commands)])), None);
    }
    assert_eq!(Rules::of(&json!([])), None);
    assert_eq!(Rules::of(&json!({})), Some(Rules::default()));
}
