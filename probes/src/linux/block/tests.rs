use super::*;

#[test]
fn layers_by_dm_uuid() {
    let uuid = |kind: &str| format!("{kind}8c0f2e7a4b1d4c5e9f3a6b7c8d9e0f1a-name");
    for (prefix, layer) in [
        ("CRYPT-LUKS1-", Layer::Luks1),
        ("CRYPT-LUKS2-", Layer::Luks2),
        ("CRYPT-PLAIN-", Layer::Plain),
        ("CRYPT-TCRYPT-", Layer::Tcrypt),
        ("CRYPT-BITLK-", Layer::Bitlk),
    ] {
        assert_eq!(MappedLayer::of(&uuid(prefix), "name"), MappedLayer::Encrypting(layer), "{prefix}");
    }
    assert_eq!(MappedLayer::of("CRYPT-PLAIN-swap", "swap"), MappedLayer::Encrypting(Layer::Plain));
    for (prefix, layer) in [("CRYPT-VERITY-", Layer::Verity), ("CRYPT-INTEGRITY-", Layer::Integrity)] {
        assert_eq!(MappedLayer::of(&uuid(prefix), "name"), MappedLayer::Passing(layer), "{prefix}");
    }
    assert_eq!(MappedLayer::of("LVM-abc", "vg-root"), MappedLayer::Passing(Layer::Lvm));
    assert_eq!(MappedLayer::of("mpath-3600", "mpatha"), MappedLayer::Passing(Layer::Multipath));
    assert_eq!(MappedLayer::of("part1-mpath-3600", "mpatha1"), MappedLayer::Passing(Layer::Partition));
}

#[test]
fn an_unknown_or_shortened_uuid_is_unknown() {
    for (uuid, name) in [
        ("", "name"),
        ("CRYPT-", "name"),
        ("CRYPT-LUKS2-8c0f-name", "other"),
        ("CRYPT-LUKS2-8c0f-na", "name"),
        ("CRYPT-LUKS2-", ""),
        ("CRYPT-FUTURE-8c0f-name", "name"),
        ("LVM-", "name"),
        ("part1-", "name"),
        ("stratis-1-private-x", "name"),
    ] {
        assert_eq!(MappedLayer::of(uuid, name), MappedLayer::Unknown, "{uuid}");
    }
}

#[test]
fn compressed_memory_is_memory_only_without_a_disk() {
    let names = |names: &[&str]| Answer::Names(names.iter().map(|n| (*n).to_owned()).collect());
    let without = names(&["disksize", "uevent"]);
    let with = names(&["backing_dev", "disksize", "uevent"]);
    let text = |text: &str| Answer::Bytes(text.as_bytes().to_vec());
    assert!(zram_is_memory(&without, &Answer::Absent));
    assert!(zram_is_memory(&with, &text("none\n")));
    assert!(!zram_is_memory(&with, &text("/dev/sda2\n")));
    assert!(!zram_is_memory(&with, &Answer::Absent));
    assert!(!zram_is_memory(&names(&["disksize"]), &Answer::Absent));
    assert!(!zram_is_memory(&without, &Answer::Denied));
    assert!(!zram_is_memory(&Answer::Absent, &Answer::Absent));
}
