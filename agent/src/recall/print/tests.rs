use std::os::unix::fs::{PermissionsExt as _, symlink};

use probes::Program;

use super::*;

/// A folder as apt has its lists: a list, a folder of more, the lock and what is being fetched.
struct Lists {
    folder: tempfile::TempDir,
}

impl Lists {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for sub in ["below/deep", "partial"] {
            fs::create_dir_all(folder.path().join(sub)).unwrap();
        }
        for file in ["list", "below/file", "below/deep/file", "lock", "partial/file"] {
            fs::write(folder.path().join(file), "old").unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn leaked(&self, name: &str) -> &'static str {
        Box::leak(self.path(name).into_os_string().into_string().unwrap().into_boxed_str())
    }

    fn print(&self) -> Digest {
        let places = [
            Input::Folder { path: self.leaked(""), levels: 2, except: &["lock", "partial"] },
            Input::File(self.leaked("status")),
        ];
        print_of(&places).unwrap().digest
    }

    /// Whether this shows.
    fn shows(&self, change: impl FnOnce()) -> bool {
        let before = self.print();
        assert_eq!(before, self.print(), "looking changes nothing");
        change();
        before != self.print()
    }
}

#[test]
fn every_kind_of_change_shows() {
    let lists = Lists::new();
    let (list, status) = (lists.path("list"), lists.path("status"));
    assert!(lists.shows(|| fs::write(&status, "installed").unwrap()), "a file that appears");
    assert!(lists.shows(|| fs::write(&list, "longer").unwrap()), "another size");
    let times = fs::metadata(&list).unwrap().modified().unwrap();
    assert!(
        lists.shows(|| fs::File::open(&list)
            .unwrap()
            .set_modified(times - std::time::Duration::from_nanos(1))
            .unwrap()),
        "another time"
    );
    // The same size and time, as `cp --preserve` makes it.
    let same = || {
        let times = fs::metadata(&list).unwrap().modified().unwrap();
        fs::write(&list, "LONGER").unwrap();
        fs::File::options().write(true).open(&list).unwrap().set_modified(times).unwrap();
    };
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(lists.shows(same), "another content alone");
    let replace = || {
        let other = lists.path("partial/other");
        fs::write(&other, "LONGER").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(times).unwrap();
        fs::rename(&other, &list).unwrap();
    };
    assert!(lists.shows(replace), "another file under the name");
    let mode = |mode| fs::set_permissions(&list, fs::Permissions::from_mode(mode)).unwrap();
    assert!(lists.shows(|| mode(0o600)), "who may read it");
    assert!(lists.shows(|| fs::write(lists.path("new"), "").unwrap()), "a new name");
    assert!(lists.shows(|| fs::rename(lists.path("new"), lists.path("newer")).unwrap()), "another name");
    assert!(lists.shows(|| fs::remove_file(lists.path("newer")).unwrap()), "one name less");
    assert!(lists.shows(|| fs::write(lists.path("below/file"), "more").unwrap()), "below");
    assert!(
        lists.shows(|| fs::write(lists.path("below/deep/new"), "").unwrap()),
        "a name below the last level"
    );
    assert!(lists.shows(|| fs::remove_file(&status).unwrap()), "a file that goes");
    assert!(lists.shows(|| symlink("list", &status).unwrap()), "a link in its place");
    assert!(lists.shows(|| fs::write(&list, "through the link").unwrap()), "what it leads to");
}

#[test]
fn what_does_not_count_does_not_show() {
    let lists = Lists::new();
    assert!(!lists.shows(|| fs::write(lists.path("lock"), "locked").unwrap()));
    assert!(!lists.shows(|| fs::write(lists.path("partial/more"), "half").unwrap()));
    assert!(!lists.shows(|| fs::remove_dir_all(lists.path("partial")).unwrap()));
}

#[test]
fn what_cannot_be_told_has_no_print() {
    let lists = Lists::new();
    // Nobody looks into a folder behind a link, so it could change unseen.
    symlink("below", lists.path("link")).unwrap();
    let places = [Input::Folder { path: lists.leaked(""), levels: 2, except: &[] }];
    print_of(&places).unwrap_err();
    // Named itself it is opened.
    let behind = [Input::Folder { path: lists.leaked("link"), levels: 1, except: &[] }];
    let before = print_of(&behind).unwrap();
    fs::write(lists.path("below/file"), "changed").unwrap();
    assert_ne!(before.digest, print_of(&behind).unwrap().digest);
    fs::remove_file(lists.path("link")).unwrap();
    symlink("loop", lists.path("loop")).unwrap();
    print_of(&places).unwrap_err();
}

#[test]
fn a_fresh_file_is_not_settled_and_becomes_so() {
    let lists = Lists::new();
    let now_ms = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    };
    let places = [Input::File(lists.leaked("list"))];
    let begun = now_ms();
    fs::write(lists.path("list"), "new").unwrap();
    let print = print_of(&places).unwrap();
    assert!(!print.is_settled(begun));
    assert!(print.is_settled(begun + 60_000));
}

#[test]
fn contents_of_the_kernel_are_read() {
    let lists = Lists::new();
    let places = [Input::Content(lists.leaked("list"))];
    let before = print_of(&places).unwrap();
    fs::write(lists.path("list"), "6.2").unwrap();
    assert_ne!(before.digest, print_of(&places).unwrap().digest);
}

#[test]
fn settings_are_looked_for_in_every_file() {
    let lists = Lists::new();
    let folder = Path::new(lists.leaked(""));
    let inputs = Program::AptGet.inputs().unwrap();
    let stays = |levels| stays(inputs, folder, levels).ok();
    assert_eq!(stays(SETTINGS_LEVELS), Some(true));
    fs::write(lists.path("below/deep/file"), "Dir::State::status \"/x\";\n").unwrap();
    assert_eq!(stays(SETTINGS_LEVELS), Some(false));
    fs::write(lists.path("below/deep/file"), "").unwrap();
    // Too deep to be known.
    assert_eq!(stays(2), Some(false));
    fs::write(lists.path("list"), vec![b' '; usize::try_from(SETTINGS_BYTES_MAX).unwrap() + 1]).unwrap();
    assert_eq!(stays(SETTINGS_LEVELS), Some(false));
    fs::remove_file(lists.path("list")).unwrap();
    symlink("loop", lists.path("loop")).unwrap();
    assert_eq!(stays(SETTINGS_LEVELS), None);
}

#[test]
fn this_machine_has_a_print_for_every_program() {
    for program in Program::ALL {
        if let Some(inputs) = program.inputs() {
            let print = LivePrints.print(inputs);
            assert!(print.is_some() && print == LivePrints.print(inputs), "{}", program.name());
        }
    }
}
