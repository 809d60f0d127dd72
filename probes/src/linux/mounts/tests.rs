use super::*;

const ROOT: &str = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro\n";

#[test]
fn optional_fields_and_escapes_are_read() {
    let line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 propagate_from:2 - ext3 /dev/root ro,x=1\n";
    let mounts = parse_mountinfo(&format!("{ROOT}{line}")).unwrap();
    let mount = &mounts[1];
    assert_eq!((mount.point.as_str(), mount.filesystem.as_str()), ("/mnt 2", "ext3"));
    assert_eq!(mount.device, DeviceNumber { major: 98, minor: 0 });
    assert!(mount.read_only());
    assert_eq!(mount.option("x"), Some("1"));
}

#[test]
fn a_list_without_root_or_with_a_bad_line_is_refused() {
    assert_eq!(parse_mountinfo(""), None);
    assert_eq!(parse_mountinfo(&ROOT.replace(" / / ", " / /mnt ")), None);
    assert_eq!(parse_mountinfo(&ROOT.replace(" - ", " ")), None);
    assert_eq!(parse_mountinfo(&ROOT.replace("254:1", "254")), None);
    assert_eq!(parse_mountinfo(&ROOT.replace("/ rw", "/\\04 rw")), None);
}

#[test]
fn a_read_only_bind_mount_of_a_writable_file_system_is_writable() {
    let mounts = parse_mountinfo(&ROOT.replace("rw,relatime", "ro,relatime")).unwrap();
    assert!(!mounts[0].read_only());
}

#[test]
fn a_path_belongs_to_the_longest_and_last_mount() {
    let text = format!(
        "{ROOT}23 22 8:1 / /home rw - ext4 /dev/sda1 rw\n24 22 8:2 / /homes rw - ext4 /dev/sda2 rw\n\
         25 22 8:3 / /home rw - ext4 /dev/sda3 rw\n"
    );
    let mounts = parse_mountinfo(&text).unwrap();
    let source = |path| holding(&mounts, path).map(|m| m.source.as_str());
    assert_eq!(source("/home/x"), Some("/dev/sda3"));
    assert_eq!(source("/homes"), Some("/dev/sda2"));
    assert_eq!(source("/home2"), Some("/dev/mapper/vg-root"));
    assert_eq!(source("relative"), None);
}

#[test]
fn a_second_list_that_lacks_a_volume_disagrees() {
    let text =
        format!("{ROOT}23 22 8:1 / /home rw - ext4 /dev/sda1 rw\n24 22 0:5 / /proc rw - proc proc rw\n");
    let mounts = parse_mountinfo(&text).unwrap();
    let root = "/dev/mapper/vg-root / ext4 rw 0 0\n";
    let home = "/dev/sda1 /home ext4 rw 0 0\n";
    assert!(agrees_with(&mounts, &format!("{root}{home}")));
    assert!(agrees_with(&mounts, &format!("proc /proc proc rw 0 0\n{root}{home}")));
    assert!(!agrees_with(&mounts, root));
    assert!(!agrees_with(&mounts, &format!("{home}{root}")));
    assert!(!agrees_with(&mounts, &format!("{root}{home}broken\n")));
}

#[test]
fn swap_areas_must_add_up() {
    let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    let swaps =
        parse_swaps(&format!("{header}/dev/dm-2 partition 100 0 -2\n/swap\\040file file 23 0 -3\n")).unwrap();
    assert_eq!(swaps[1].path, "/swap file");
    assert!(swaps_add_up(&swaps, "SwapTotal:            123 kB\n"));
    assert!(!swaps_add_up(&swaps, "SwapTotal:            124 kB\n"));
    assert!(!swaps_add_up(&swaps, "MemTotal: 5 kB\n"));
    assert_eq!(parse_swaps(""), None);
    assert_eq!(parse_swaps(&format!("{header}/dev/dm-2 partition 100\n")), None);
}

#[test]
fn the_mount_on_top_of_root_is_told_by_its_id() {
    assert_eq!(root_id(ROOT), Some(22));
    let over = ROOT.replace("22 1 ", "90 22 ");
    assert_eq!(root_id(&format!("{ROOT}{over}")), Some(90));
    let elsewhere = ROOT.replace(" / / ", " / /mnt ");
    assert_eq!(root_id(&format!("{ROOT}{elsewhere}")), Some(22));
    for bad in ["", &elsewhere, "22 1 254:1 /\n", "x 1 254:1 / / rw\n", "022 1 254:1 / / rw\n", "\n"] {
        assert_eq!(root_id(bad), None, "{bad}");
    }
}
