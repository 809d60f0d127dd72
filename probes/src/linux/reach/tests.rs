use proptest::prelude::*;

use super::*;

fn reach(leaves: &[(&str, Way)]) -> Reach {
    let some_encrypted = leaves.iter().any(|(_, way)| *way == Way::Encrypted);
    let leaves = leaves.iter().map(|(name, way)| ((*name).to_owned(), *way)).collect();
    Reach { leaves, some_encrypted, ..Reach::default() }
}

#[test]
fn coverage_needs_every_leaf() {
    use Way::{Encrypted, Memory, Plain, Unknown};
    for (leaves, coverage) in [
        (vec![("a", Encrypted)], Coverage::Full),
        (vec![("a", Encrypted), ("b", Plain)], Coverage::Partial),
        (vec![("a", Plain), ("b", Plain)], Coverage::None),
        (vec![("a", Encrypted), ("b", Unknown)], Coverage::Unspecified),
        (vec![("a", Plain), ("b", Unknown)], Coverage::Unspecified),
        (vec![("a", Memory)], Coverage::Memory),
        (vec![("a", Memory), ("b", Encrypted)], Coverage::Full),
        (vec![("a", Memory), ("b", Plain)], Coverage::Partial),
        (vec![], Coverage::Unspecified),
    ] {
        assert_eq!(reach(&leaves).coverage(), coverage, "{leaves:?}");
    }
}

#[test]
fn of_two_ways_to_one_disk_the_worse_counts() {
    let mut both = reach(&[("sda", Way::Encrypted)]);
    both.merge(&reach(&[("sda", Way::Plain)]));
    assert_eq!(both.leaves["sda"], Way::Plain);
    assert_eq!(both.coverage(), Coverage::Partial);
}

/// A machine whose devices are `d0…`, each above some others, encrypting or not; those above none are disks.
fn any_devices() -> impl Strategy<Value = Vec<(bool, Vec<usize>)>> {
    (1usize..9).prop_flat_map(|count| {
        prop::collection::vec((any::<bool>(), prop::collection::vec(0..count, 0..3)), count)
    })
}

fn devices(spec: &[(bool, Vec<usize>)]) -> Devices {
    let name = |index: usize| format!("d{index}");
    Devices::of(spec.iter().enumerate().map(|(index, (encrypting, below))| {
        let layer = if *encrypting {
            MappedLayer::Encrypting(Layer::Luks2)
        } else {
            MappedLayer::Passing(Layer::Lvm)
        };
        let kind = if below.is_empty() {
            DeviceKind::Disk { removable: None, virtual_disk: false }
        } else {
            DeviceKind::Mapped { layer, name: None, below: Some(below.iter().map(|b| name(*b)).collect()) }
        };
        (name(index), kind)
    }))
}

/// The plain truth by following every path: is some disk reached without encryption, or is there a circle?
fn exposed(spec: &[(bool, Vec<usize>)], at: usize, path: &mut Vec<usize>) -> bool {
    if path.contains(&at) {
        return true;
    }
    let (encrypting, below) = &spec[at];
    if below.is_empty() {
        return true;
    }
    if *encrypting {
        return false;
    }
    path.push(at);
    let found = below.iter().any(|next| exposed(spec, *next, path));
    path.pop();
    found
}

proptest! {
    #[test]
    fn full_means_that_no_path_is_exposed(spec in any_devices()) {
        let devices = devices(&spec);
        let btrfs = BTreeMap::new();
        let mut walk = Walk::new(&devices, &[], &btrfs);
        // Every device in one walk: what is remembered of one must not spoil another.
        for index in 0..spec.len() {
            let coverage = walk.device(&format!("d{index}")).coverage();
            if coverage == Coverage::Full {
                prop_assert!(!exposed(&spec, index, &mut Vec::new()), "d{} of {:?}", index, spec);
            }
        }
    }
}

#[test]
fn a_circle_or_a_missing_device_is_unknown() {
    let btrfs = BTreeMap::new();
    let circle = devices(&[(false, vec![1]), (false, vec![0])]);
    assert_eq!(Walk::new(&circle, &[], &btrfs).device("d0").coverage(), Coverage::Unspecified);
    let missing = devices(&[(false, vec![7])]);
    assert_eq!(Walk::new(&missing, &[], &btrfs).device("d0").coverage(), Coverage::Unspecified);
}
