use super::*;

struct Fixed(Answer);

impl Host for Fixed {
    fn answer(&self, _: &Question) -> Result<Answer, NoAnswer> {
        Ok(self.0.clone())
    }
}

fn process(pid: u32, name: &str, exe: &str) -> Process {
    Process { pid, parent: 1, name: name.to_owned(), exe: Some(exe.to_owned()) }
}

#[test]
fn processes_that_no_probe_looks_for_are_left_out_and_that_is_said() {
    let processes = vec![
        process(1, "systemd", "/usr/lib/systemd/systemd"),
        process(20, "firefox", "/usr/lib/firefox/firefox"),
        process(30, "wdavdaemon", "/opt/microsoft/mdatp/sbin/wdavdaemon"),
        process(40, "gnome-shell", "/usr/bin/gnome-shell"),
    ];
    let recorder = Recorder::new(Fixed(Answer::Processes(processes.clone())));
    assert_eq!(recorder.answer(&Question::Processes), Ok(Answer::Processes(processes)));
    let recording = recorder.into_recording(Platform::Linux, "r".into(), "s".into());
    assert_eq!(recording.redactions, ["processes: 3 of 4 kept"]);
    let replay = recording.replay().unwrap();
    let Some(Answer::Processes(kept)) = replay.recorded("processes") else { panic!("no processes") };
    assert_eq!(kept.iter().map(|p| p.pid).collect::<Vec<_>>(), [1, 30, 40]);
}

#[test]
fn answers_that_name_people_or_the_machine_are_left_out_and_that_is_said() {
    let recorder = Recorder::new(Fixed(Answer::Bytes(b"alice\n".to_vec())));
    for path in ["/etc/passwd", "/etc/machine-id", "/proc/swaps"] {
        recorder.answer(&Question::Read(path.to_owned())).unwrap();
    }
    let recording = recorder.into_recording(Platform::Linux, "r".into(), "s".into());
    assert_eq!(recording.redactions, ["2 answers that name people or the machine left out"]);
    let replay = recording.replay().unwrap();
    assert_eq!(replay.recorded("read /etc/passwd"), Some(&Answer::Failed));
    assert_eq!(replay.recorded("read /proc/swaps"), Some(&Answer::Bytes(b"alice\n".to_vec())));
}
