use super::*;

#[test]
fn every_package_manager_that_lists_updates_says_what_it_reads() {
    let with: Vec<&str> =
        Program::ALL.into_iter().filter(|program| program.inputs().is_some()).map(Program::name).collect();
    assert_eq!(with, ["apt", "apt-config", "apt-get", "dnf", "pacman", "zypper"]);
    for program in Program::ALL {
        let Some(inputs) = program.inputs() else { continue };
        // A new program may answer otherwise.
        for path in program.paths() {
            assert!(inputs.places.contains(&Input::File(path)), "{path}");
        }
        // Settings are looked into once, so a change of theirs must be noticed.
        for setting in inputs.settings {
            let covers = |place: &Input| {
                setting
                    .strip_prefix(place.path())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            assert!(inputs.places.iter().any(covers), "{setting}");
        }
        assert!(!inputs.complete.is_empty());
    }
}

#[test]
fn settings_of_a_plain_machine_stay() {
    let docker_clean = "# directories\nDir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n";
    for text in ["", docker_clean, "APT::Install-Recommends \"0\"; // in any dir\n// Dir::State \"/x\";\n"] {
        assert_eq!(APT.stays(text), !text.contains("in any dir"), "{text}");
    }
    assert!(
        DNF.stays(
            "[main]\ngpgcheck=1\ninstallonly_limit=3\nbest=False\nincludepkgs=kernel*\n# cachedir=/x\n"
        )
    );
    assert!(PACMAN.stays("#DBPath = /var/lib/pacman/\n[core]\nInclude = /etc/pacman.d/mirrorlist\n"));
    assert!(ZYPPER.stays("[main]\n## cachedir = /var/cache/zypp\nsolver.onlyRequires = false\n"));
}

#[test]
fn settings_that_name_another_place_are_noticed() {
    for text in [
        "Dir::State::lists \"/mnt/lists\";",
        "dir { state { lists \"/mnt/lists\"; } }",
        "RootDir \"/mnt\";",
        "APT::X \"y\";\n#include \"/opt/apt.conf\"\n",
        "#clear Dir::Etc;",
        "Dir::Cache::pkgcache \"\"; Dir::Etc::parts \"/opt\";",
    ] {
        assert!(!APT.stays(text), "{text}");
    }
    assert!(!DNF.stays("[main]\n  CacheDir = /mnt/dnf\n"));
    assert!(!DNF.stays("%_dbpath /mnt/rpm\n"));
    assert!(!PACMAN.stays("Include = /opt/more.conf\n"));
    assert!(!PACMAN.stays("DBPath=/mnt/pacman\n"));
    assert!(!ZYPPER.stays("reposdir = /mnt/repos.d\n"));
}
