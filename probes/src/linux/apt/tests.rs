use proptest::prelude::*;

use super::*;

const HEAD: &str = "Reading package lists...\nBuilding dependency tree...\n";
const LIST: &str = "Listing...\n";

fn simulation(summary: &str, lines: &str) -> String {
    format!("{HEAD}{summary}\n{lines}")
}

#[test]
fn lines_as_apt_prints_them() {
    let lines = "Inst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.14/oldstable [amd64])\n\
                 Inst perl [5.36.0-7+deb12u2] (5.36.0-7+deb12u3 Debian:12.14/oldstable [amd64]) []\n\
                 Inst libpam-modules-bin [1.5.2-6+deb12u1] (1.5.2-6+deb12u2 Debian:12.14/oldstable [amd64]) \
                 [libpam-modules:amd64 on libpam-modules-bin:amd64] [libpam-modules:amd64 ]\n\
                 Conf bash (5.2.15-2+b13 Debian:12.14/oldstable [amd64])\n\
                 Inst libcups2 [2.4.2-3+deb12u8] (2.4.2-3+deb12u9 Debian:12.14/oldstable, \
                 Debian-Security:12/oldstable-security [amd64])\n";
    let list = "Listing...\n\
                bash/oldstable 5.2.15-2+b13 amd64 [upgradable from: 5.2.15-2+b8]\n\
                libcups2/oldstable,oldstable-security 2.4.2-3+deb12u9 amd64 [upgradable from: 2.4.2-3+deb12u8]\n\
                libpam-modules-bin/oldstable 1.5.2-6+deb12u2 amd64 [upgradable from: 1.5.2-6+deb12u1]\n\
                perl/oldstable 5.36.0-7+deb12u3 amd64 [upgradable from: 5.36.0-7+deb12u2]\n";
    let text = simulation("4 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.", lines);
    assert_eq!(pending(&text, list), Some(Pending { security: 1, other: 3 }));
}

#[test]
fn a_package_of_two_architectures_is_two() {
    let lines = "Inst libc6:i386 [1] (2 Debian-Security:12/stable-security [i386])\n\
                 Inst libc6 [1] (2 Debian-Security:12/stable-security [amd64])\n";
    let list = "Listing... Done\nlibc6/stable-security 2 amd64 [upgradable from: 1]\n\
                libc6/stable-security 2 i386 [upgradable from: 1]\n";
    let text = simulation("2 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.", lines);
    assert_eq!(pending(&text, list), Some(Pending { security: 2, other: 0 }));
}

#[test]
fn a_package_that_would_be_removed_still_counts() {
    let text = simulation("0 upgraded, 0 newly installed, 1 to remove and 0 not upgraded.", "Remv old [1]\n");
    let list = format!("{LIST}old/stable-security 2 amd64 [upgradable from: 1]\n");
    assert_eq!(pending(&text, &list), Some(Pending { security: 1, other: 0 }));
}

#[test]
fn outputs_that_do_not_fit_are_refused() {
    let nothing = simulation("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.", "");
    assert_eq!(pending(&nothing, LIST), Some(Pending { security: 0, other: 0 }));
    assert_eq!(pending(HEAD, LIST), None);
    assert_eq!(pending(&nothing, ""), None);
    assert_eq!(pending(&nothing, "a/stable 2 amd64 [upgradable from: 1]\n"), None);
    assert_eq!(pending(&nothing, "Listing...\na/stable 2 amd64 [upgradable from: 1]\n"), None);
    let kept = simulation("0 upgraded, 0 newly installed, 0 to remove and 1 not upgraded.", "");
    assert_eq!(pending(&kept, LIST), None);
    let downgrade =
        simulation("0 upgraded, 0 newly installed, 1 downgraded, 0 to remove and 0 not upgraded.", "");
    assert_eq!(pending(&downgrade, LIST), None);
    let other_version = simulation(
        "1 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.",
        "Inst a [1] (3 Debian:12/stable [amd64])\n",
    );
    assert_eq!(pending(&other_version, "Listing...\na/stable 2 amd64 [upgradable from: 1]\n"), None);
}

proptest! {
    #[test]
    fn never_panics(simulation in "(.|\n){0,200}", list in "(.|\n){0,200}", inst in ".{0,60}") {
        let _ = pending(&simulation, &list);
        let _ = parse_inst(&inst);
        let _ = parse_summary(&inst);
    }
}
