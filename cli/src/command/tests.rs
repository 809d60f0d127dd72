use evidence::time::Timestamp;

use super::*;

struct At(u64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp(self.0)
    }
}

/// What a command line answers without a connection.
pub(crate) fn answer(arguments: &[&str]) -> Result<(Outcome, String), String> {
    let line =
        Line::try_parse_from([&["tallystick"], arguments].concat()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let outcome = run(&line, Arc::new(At(0)), &mut out).map_err(|error| format!("{error:#}"))?;
    Ok((outcome, String::from_utf8(out).unwrap()))
}

/// The command line, for tests of what is made from it.
pub(crate) fn definition() -> clap::Command {
    Line::command()
}

#[test]
fn an_error_says_each_cause_once() {
    let cause = anyhow::anyhow!("line 1").context("not JSON: line 1").context("x is not an act file");
    assert_eq!(sentence(&cause), "x is not an act file: not JSON: line 1");
    let cause = anyhow::anyhow!("refused").context("no connection");
    assert_eq!(sentence(&cause), "no connection: refused");
}

#[test]
fn the_command_line_is_sound() {
    Line::command().debug_assert();
}

/// Every argument of every command, with the command's name.
fn arguments(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Arg)>) {
    let path = format!("{path} {}", command.get_name());
    found.extend(command.get_arguments().map(|argument| (path.clone(), argument.clone())));
    for sub in command.get_subcommands() {
        arguments(sub, &path, found);
    }
}

#[test]
fn every_argument_is_explained_and_every_value_has_a_unit() {
    let mut found = Vec::new();
    arguments(&Line::command(), "", &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for (command, argument) in found {
        assert!(argument.get_help().is_some(), "{command} {}", argument.get_id());
        if argument.get_action().takes_values() && argument.get_possible_values().is_empty() {
            let named = argument.get_value_names().is_some_and(|names| !names.is_empty());
            assert!(named, "{command} {} has no value name", argument.get_id());
        }
    }
}

#[test]
fn pure_commands_need_neither_profile_nor_key() {
    let line = ["audit", "size", "--risk", "5%", "--tolerable", "5%", "--expected", "1%", "--json"];
    let (outcome, text) = answer(&line).unwrap();
    assert_eq!(outcome, Outcome::Done);
    assert!(text.starts_with("{\"n\":93,\"acceptance\":1,"), "{text}");
    let before = ["--json", "audit", "size", "--risk", "5%", "--tolerable", "5%", "--expected", "1%"];
    assert_eq!(answer(&before).unwrap().1, text);
}

#[test]
fn a_draw_is_of_a_plan_or_of_a_population() {
    let error = answer(&["audit", "draw"]).unwrap_err();
    assert!(error.contains("--population") && error.contains("--seed"), "{error}");
    let error = answer(&["audit", "draw", "--plan", "p", "--population", "f"]).unwrap_err();
    assert!(error.contains("cannot be used with"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("population.txt");
    std::fs::write(&file, "a\nb\n").unwrap();
    let file = file.to_str().unwrap();
    let (_, text) = answer(&["audit", "draw", "--population", file, "--seed", "1", "--n", "1"]).unwrap();
    assert!(text.starts_with("Drew 1 of 2 units"), "{text}");
    let error = answer(&["audit", "draw", "--plan", "/nonexistent/plan.json"]).unwrap_err();
    assert!(error.contains("cannot open the plan"), "{error}");
}

#[test]
fn a_key_is_made_and_a_nonce_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("a.key");
    let nonce = folder.path().join("nonce");
    let (_, text) =
        answer(&["key", "new", "--no-passphrase", "--out", key.to_str().unwrap(), "--json"]).unwrap();
    assert!(text.contains("\"key_id\""), "{text}");
    let (_, text) = answer(&["audit", "nonce", "--out", nonce.to_str().unwrap()]).unwrap();
    assert!(text.contains("show it to nobody"), "{text}");
    assert_eq!(std::fs::read(nonce).unwrap().len(), 65);
}

#[test]
fn a_commitment_is_made_without_a_connection_and_carried_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    answer(&["key", "new", "--no-passphrase", "--out", &at("a.key")]).unwrap();
    answer(&["audit", "nonce", "--out", &at("nonce")]).unwrap();
    crate::audit::write_samples(&at("a.key"), &at("plan.json"), &at("trust.json"));
    let (plan, nonce, trust, key, out) =
        (at("plan.json"), at("nonce"), at("trust.json"), at("a.key"), at("commit.act.json"));
    let line = ["audit", "commit", "--plan", &plan, "--nonce", &nonce, "--trust", &trust, "--key", &key];
    let error = answer(&line).unwrap_err();
    assert!(error.contains("--profile"), "{error}");
    let (_, text) = answer(&[line.as_slice(), &["--out", &out]].concat()).unwrap();
    assert!(text.contains("commit.act.json"), "{text}");
    let signed = crate::act::SignedAct::read(std::path::Path::new(&out)).unwrap();
    assert_eq!(signed.kind, evidence::leaf::Kind::COMMITMENT);
}

#[test]
fn a_device_is_named_or_changed() {
    let id = evidence::ids::DeviceId::from_bytes([7; 16]).to_string();
    let error = answer(&["device", &id]).unwrap_err();
    assert!(error.contains("--profile") || error.contains("TALLYSTICK_PROFILE"), "{error}");
    let error = answer(&["device", "set-class", &id, "toaster"]).unwrap_err();
    assert!(error.contains("laptop, desktop"), "{error}");
    let error = answer(&["device", "set-clas", &id]).unwrap_err();
    assert!(error.contains("Usage: tallystick device"), "{error}");
}
