use std::path::Component;

use evidence::acts::TreeHead;
use proptest::prelude::*;

use super::*;

fn manifest(plan_hash: &Digest) -> Vec<u8> {
    let checkpoint = TreeHead { size: 1, root: Digest([1; 32]) };
    let files = set::Files::from([(set::PLAN.to_owned(), b"{}".to_vec())]);
    Manifest::over("evidence.example.com/log/main", checkpoint, *plan_hash, &files).encode()
}

fn part(path: &str, data: &[u8], end: bool, files: u64) -> SetPart {
    SetPart { path: path.to_owned(), data: data.to_vec(), end, files }
}

/// Names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_whole_set_appears_under_its_name() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("set");
    let plan = Digest([7; 32]);
    let mut folder = SetFolder::create(&target).unwrap();
    folder.take(&part("plan.json", b"{", false, 3)).unwrap();
    assert_eq!(folder.complete(), 0);
    folder.take(&part("plan.json", b"}", true, 0)).unwrap();
    folder.take(&part("units/edr/0001/12.envelope", b"x", true, 0)).unwrap();
    assert!(!target.exists());
    folder.take(&part("MANIFEST.json", &manifest(&plan), true, 0)).unwrap();
    let (files, bytes) = folder.finish(&plan).unwrap();
    assert_eq!((files, bytes), (3, 3 + manifest(&plan).len() as u64));
    assert_eq!(fs::read(target.join("plan.json")).unwrap(), b"{}");
    assert_eq!(fs::read(target.join("units/edr/0001/12.envelope")).unwrap(), b"x");
    assert_eq!(names(home.path()), ["set"]);
}

#[test]
fn paths_that_lead_elsewhere_are_refused_and_nothing_stays() {
    for path in [
        "../plan.json",
        "/etc/passwd",
        "plan.json/../../x",
        "units/../0001/unit.json",
        "units/edr/0001/../../../x",
        "log/consistency/../checkpoint",
        "./plan.json",
        "plan.json ",
        "draw/..json",
        "C:\\x",
        "units\\edr",
        "",
        ".",
        "..",
        "report.html",
        "a\u{0}b",
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut folder = SetFolder::create(&home.path().join("set")).unwrap();
        folder.take(&part(path, b"x", true, 1)).unwrap_err();
        drop(folder);
        assert!(names(home.path()).is_empty(), "{path:?}");
    }
}

#[test]
fn a_broken_set_leaves_nothing() {
    let plan = Digest([7; 32]);
    let cases: [(&str, Vec<SetPart>); 7] = [
        ("nothing", vec![]),
        ("a file too few", vec![part("MANIFEST.json", &manifest(&plan), true, 2)]),
        ("a file not ended", vec![part("MANIFEST.json", &manifest(&plan), false, 1)]),
        ("no manifest", vec![part("plan.json", b"{}", true, 1)]),
        ("a damaged manifest", vec![part("MANIFEST.json", b"{}", true, 1)]),
        ("another plan's", vec![part("MANIFEST.json", &manifest(&Digest([8; 32])), true, 1)]),
        ("no announcement", vec![part("MANIFEST.json", &manifest(&plan), true, 0)]),
    ];
    for (what, parts) in cases {
        let home = tempfile::tempdir().unwrap();
        let mut folder = SetFolder::create(&home.path().join("set")).unwrap();
        let taken = parts.iter().try_for_each(|part| folder.take(part));
        let result = taken.and_then(|()| folder.finish(&plan));
        assert!(result.is_err(), "{what}");
        assert!(names(home.path()).is_empty(), "{what}");
    }
}

#[test]
fn mixed_up_repeated_and_surplus_files_are_refused() {
    let cases = [
        vec![part("plan.json", b"", false, 2), part("VERIFY.md", b"", true, 0)],
        vec![part("plan.json", b"", true, 2), part("plan.json", b"", true, 0)],
        vec![part("plan.json", b"", true, 1), part("VERIFY.md", b"", true, 0)],
    ];
    for parts in cases {
        let home = tempfile::tempdir().unwrap();
        let mut folder = SetFolder::create(&home.path().join("set")).unwrap();
        folder.take(&parts[0]).unwrap();
        folder.take(&parts[1]).unwrap_err();
    }
}

#[test]
fn an_existing_folder_is_never_written_to() {
    let home = tempfile::tempdir().unwrap();
    SetFolder::create(home.path()).unwrap_err();
}

proptest! {
    #[test]
    fn no_accepted_path_leads_out_of_the_folder(
        path in "(units|log|draw|streams|plan\\.json|\\.\\.|/|\\\\|edr|0001|[0-9]{1,3}|\\.|json|unit|\\PC){0,9}",
    ) {
        if is_set_path(&path) {
            let plain = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
            prop_assert!(plain && !path.contains('\\') && !path.contains("//"), "{}", path);
        }
    }
}
