use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{Event, EventKind};
use probes::{Answer, Answers, Host, NoAnswer, Question};
use tokio::time::{Instant, timeout};

use super::files::Files;
use super::{QUIET, QUIET_WAIT_MAX, TOUCHED_MAX, Touched, Watch, rescan};

/// For what must come; generous, since it says nothing about speed.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what must not come: several times what a comparison takes to begin.
const SILENCE: Duration = Duration::from_secs(4);

/// Reads whatever is asked for.
struct Plain;

impl Host for Plain {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        Ok(match question {
            Question::Read(path) => fs::read(path).map_or(Answer::Absent, Answer::Bytes),
            _ => Answer::Absent,
        })
    }
}

fn files(paths: &[&Path]) -> Files {
    let mut answers = Answers::new();
    for path in paths {
        let question = Question::Read(path.to_str().unwrap().to_owned());
        let answer = Plain.answer(&question).unwrap();
        answers.insert(question, answer);
    }
    Files::of(&answers)
}

async fn comes(watch: &mut Watch) {
    timeout(PATIENCE, watch.changed()).await.expect("the change is noticed");
}

async fn stays_silent(watch: &mut Watch) {
    assert!(timeout(SILENCE, watch.changed()).await.is_err(), "nothing changed");
}

#[tokio::test]
async fn another_content_is_noticed_and_a_touch_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("os-release");
    fs::write(&path, "ID=debian\n").unwrap();
    let mut watch = Watch::new(Arc::new(Plain));
    watch.follow(files(&[&path]));
    fs::write(&path, "ID=debian\n").unwrap();
    fs::write(folder.path().join("other"), "beside it").unwrap();
    stays_silent(&mut watch).await;
    fs::write(&path, "ID=arch\n").unwrap();
    comes(&mut watch).await;
    // As editors do it: another file takes the name.
    watch.follow(files(&[&path]));
    let temporary = folder.path().join("os-release~");
    fs::write(&temporary, "ID=void\n").unwrap();
    fs::rename(&temporary, &path).unwrap();
    comes(&mut watch).await;
}

#[tokio::test]
async fn what_appears_in_folders_that_do_not_exist_yet_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("opt/vendor/agent");
    let mut watch = Watch::new(Arc::new(Plain));
    watch.follow(files(&[&path]));
    fs::create_dir(folder.path().join("opt")).unwrap();
    stays_silent(&mut watch).await;
    fs::create_dir(folder.path().join("opt/vendor")).unwrap();
    fs::write(&path, "\x7fELF").unwrap();
    comes(&mut watch).await;
    watch.follow(files(&[&path]));
    fs::remove_dir_all(folder.path().join("opt")).unwrap();
    comes(&mut watch).await;
}

#[tokio::test]
async fn a_change_between_the_look_and_the_watch_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let looked = files(&[&path]);
    fs::write(&path, "new").unwrap();
    let mut watch = Watch::new(Arc::new(Plain));
    watch.follow(looked);
    comes(&mut watch).await;
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut watch = Watch::new(Arc::new(Plain));
    watch.follow(files(&[&path]));
    stays_silent(&mut watch).await;
    fs::write(&path, "new").unwrap();
    for _ in 0..200 {
        // Given up at every point it may wait at.
        if timeout(Duration::from_millis(20), watch.changed()).await.is_ok() {
            return;
        }
    }
    comes(&mut watch).await;
}

#[tokio::test]
async fn after_lost_events_everything_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut watch = Watch::new(Arc::new(Plain));
    // No folder is watched, as if no event had come.
    watch.files = Arc::new(files(&[&path]));
    fs::write(&path, "new").unwrap();
    stays_silent(&mut watch).await;
    watch.shared.touched().take_event(&Ok(rescan()), Instant::now());
    comes(&mut watch).await;
}

#[test]
fn events_are_gathered_within_bounds() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let event = |path: &str| Ok(Event::new(EventKind::Any).add_path(path.into()));
    let mut touched = Touched::default();
    assert_eq!(touched.due(), None);
    touched.take_event(&event("/etc/os-release"), start);
    assert_eq!(touched.due(), Some(start + QUIET));
    assert!(touched.folders.contains(Path::new("/etc")) && !touched.all);
    for ms in (0..2000).step_by(100) {
        touched.take_event(&event("/etc/hosts"), at(ms));
    }
    assert_eq!(touched.due(), Some(start + QUIET_WAIT_MAX), "however long it goes on");
    for number in 0..=TOUCHED_MAX {
        touched.take_event(&event(&format!("/folder/{number}")), at(0));
    }
    assert!(touched.all && touched.folders.len() <= TOUCHED_MAX);
    let mut touched = Touched::default();
    touched.take_event(&Err(notify::Error::generic("lost")), start);
    assert!(touched.all, "an error of the watcher is a reason to compare everything");
}

#[test]
fn only_files_of_which_the_kernel_tells_are_watched() {
    let mut answers = Answers::new();
    for question in [
        Question::Read("/proc/mounts".into()),
        Question::List("/sys/block".into()),
        Question::Processes,
        Question::List("/etc".into()),
        Question::Metadata("/etc/nothing/there/at/all".into()),
        Question::Link("/usr/lib/link".into()),
    ] {
        answers.insert(question, Answer::Absent);
    }
    let folders = Files::of(&answers).folders();
    let names: Vec<_> = folders.keys().map(|folder| folder.to_str().unwrap()).collect();
    assert_eq!(names, ["/etc", "/usr/lib"]);
    assert_eq!(folders[Path::new("/etc")].len(), 2);
}

#[test]
fn the_settings_of_a_user_are_watched_in_his_home_folder() {
    // Root's home is in every machine's list.
    let home = crate::host::as_user::account(0).unwrap().home;
    let as_user = |program, args: &[&str]| Question::RunAs {
        uid: 0,
        desktop: "GNOME".to_owned(),
        program,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    };
    let mut answers = Answers::new();
    for question in [
        Question::ReadAs { uid: 0, path: "kscreenlockerrc" },
        as_user(probes::Program::Gsettings, &["list-recursively", "org.gnome.desktop.session"]),
        as_user(probes::Program::Gdbus, &["call", "org.freedesktop.DBus.NameHasOwner"]),
        Question::Started { pid: 1, names: &[] },
        Question::ReadAs { uid: 4_000_000_000, path: "kscreenlockerrc" },
    ] {
        answers.insert(question, Answer::Absent);
    }
    let asked: Vec<Question> = Files::of(&answers).folders().into_values().flatten().collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        Files::of(&answers)
            .folders()
            .keys()
            .all(|folder| home.starts_with(folder) || folder.starts_with(&home))
    );
}
