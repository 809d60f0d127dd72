//! A copy of an enrolled machine's disk on another machine does not speak: the real agent, started where `/etc/machine-id` is
//! another one. Making the view in which it is takes root: as another user this test fails and says so.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::process::{Ran, run};
use tests::programs;
use tests::world::{World, write_secret};

/// The agent on a machine of another name.
fn on_another_machine(world: &World, name: &Path, line: &[&str]) -> Ran {
    let script = format!("mount --bind '{}' /etc/machine-id && exec \"$0\" \"$@\"", name.display());
    let state = world.file("laptop").display().to_string();
    let start = ["--mount", "sh", "-c", &script, programs!().agent, "--state", &state];
    run("unshare", [&start[..], line].concat())
}

#[test]
fn a_copy_does_not_speak_and_gets_an_identity_of_its_own_when_asked() {
    assert!(Path::new("/etc/machine-id").exists(), "this machine has no /etc/machine-id to be compared");
    let world = World::new(programs!());
    let server = world.serve();
    let first = world.enrol_agent("laptop", &world.token());
    world.agent("laptop", &["once", "--until-proved"]).ok();
    let name = world.file("machine-id");
    fs::write(&name, "00112233445566778899aabbccddeeff\n").expect("a file");

    let files = || -> Vec<String> {
        let folder = fs::read_dir(world.file("laptop").join("keys")).expect("keys");
        folder.map(|entry| format!("{:?}", entry.expect("an entry").path())).collect()
    };
    let before = (files(), fs::read(world.file("laptop/identity.json")).expect("an identity"));
    let token = world.file("laptop.token");
    write_secret(&token, world.token().text().as_bytes());
    let (enrol, agents) = (world.enrol.to_string(), world.agents.to_string());
    let token = token.display().to_string();
    let enroll = ["enroll", "--json", "--server", &enrol, "--agents", &agents, "--token-file", &token];
    for line in [&["once", "--timeout-seconds", "20"][..], &["run"], &enroll] {
        let said = on_another_machine(&world, &name, line).fails(2);
        assert!(said.contains("this is a copy") && said.contains("enroll --anew"), "{said}");
        assert!(said.contains("/etc/machine-id differs"), "{said}");
    }
    let after = (files(), fs::read(world.file("laptop/identity.json")).expect("an identity"));
    assert_eq!(before, after, "nothing was changed");
    // Where it was made it goes on.
    world.agent("laptop", &["once", "--until-proved"]).ok();

    let second = on_another_machine(&world, &name, &[&enroll[..], &["--anew"]].concat()).json();
    assert_ne!((&first["device"], &first["instance"]), (&second["device"], &second["instance"]));
    assert!(second["kept_in"][0].as_str().is_some_and(|folder| folder.contains("before-i-")), "{second}");
    on_another_machine(&world, &name, &["once", "--until-proved"]).ok();
    let kept =
        world.file("laptop").join(format!("before-{}", first["instance"].as_str().expect("an instance")));
    let kept = kept.display().to_string();
    let told: Value =
        run(programs!().agent, ["--state", &kept, "status", "--json"]).out.trim().parse().expect("JSON");
    assert_eq!(told["instance"], first["instance"], "{told}");
    server.stop();
    world.fsck();
}
