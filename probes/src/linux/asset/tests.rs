use super::*;

fn text(text: &str) -> Answer {
    Answer::Bytes(text.as_bytes().to_vec())
}

const PLAIN: &str = "processor\t: 0\nflags\t\t: fpu lm\nbugs\t: none\n\n";
const MARKED: &str = "processor\t: 1\nflags\t\t: fpu hypervisor lm\nbugs\t: none\n\n";

#[test]
fn every_processor_must_show_its_features() {
    let marked = |content: &str| marked_virtual(&text(content));
    assert_eq!(marked(PLAIN), Some(false));
    assert_eq!(marked(&format!("{PLAIN}{MARKED}")), Some(true));
    assert_eq!(marked(&PLAIN.replace("fpu", "hypervisor2")), Some(false));
    for bad in [
        "",
        "\n\n",
        &PLAIN.replace("flags", "Features"),
        &format!("{PLAIN}processor\t: 1\nbugs\t: none\n\n"),
        // Two processors whose border was lost.
        &format!("{}{MARKED}", PLAIN.trim_end_matches("\n\n")),
        PLAIN.trim_end(),
    ] {
        assert_eq!(marked(bad), None, "{bad:?}");
    }
}

#[test]
fn only_a_battery_of_the_machine_counts() {
    let (battery_type, device, system) = (text("Battery\n"), text("Device\n"), text("System\n"));
    let (mains, absent, denied) = (text("Mains\n"), Answer::Absent, Answer::Denied);
    assert_eq!(battery(&[]), Some(false));
    assert_eq!(battery(&[(&mains, &absent), (&battery_type, &device)]), Some(false));
    assert_eq!(battery(&[(&battery_type, &absent)]), Some(true));
    assert_eq!(battery(&[(&denied, &denied), (&battery_type, &system)]), Some(true));
    assert_eq!(battery(&[(&battery_type, &denied)]), None);
    assert_eq!(battery(&[(&denied, &absent)]), None);
}

#[test]
fn hardware_is_claimed_by_its_chassis_once_nothing_lies_below() {
    let bare = Virtualisation { name: NONE, is_machine: false };
    for (code, expected) in [
        (9, AssetClass::Laptop),
        (3, AssetClass::Desktop),
        (28, AssetClass::Server),
        (1, AssetClass::Unspecified),
        (2, AssetClass::Unspecified),
        (127, AssetClass::Unspecified),
    ] {
        assert_eq!(class(Some(bare), Some(code)), expected, "{code}");
        assert_eq!(class(None, Some(code)), AssetClass::Unspecified, "{code}");
        let vm = Virtualisation { name: "kvm", is_machine: true };
        assert_eq!(class(Some(vm), Some(code)), AssetClass::Vm, "{code}");
    }
    assert_eq!(class(Some(bare), None), AssetClass::Unspecified);
}
