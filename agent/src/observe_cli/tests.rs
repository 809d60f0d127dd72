use super::*;

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/recordings");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() > 50);
    files
}

fn replay(file: &Path, json: bool) -> anyhow::Result<String> {
    let mut out = Vec::new();
    ReplayArgs { file: file.to_owned(), json }.run(&mut out)?;
    Ok(String::from_utf8(out)?)
}

fn observations(text: &str) -> Vec<Value> {
    let Ok(Value::Object(members)) = Value::parse(text.trim_end().as_bytes()) else { panic!("{text}") };
    let Some(Value::Array(observations)) = members.get("observations") else { panic!("{text}") };
    observations.clone()
}

fn says(observation: &Value, member: &str, text: &str) -> bool {
    matches!(observation, Value::Object(members) if members.get(member) == Some(&json::text(text)))
}

#[test]
fn every_recording_replays_and_fits_a_terminal() {
    for file in recordings() {
        let text = replay(&file, false).unwrap();
        for line in text.lines() {
            // A word that is wider than a line, such as a key of the registry, stays whole on a line of its own.
            let is_one_word = !line.trim().contains(' ');
            let is_narrow = line.trim_end().chars().count() <= COLUMNS_MAX;
            assert!(is_narrow || is_one_word, "{}: {line}", file.display());
        }
        assert_eq!(observations(&replay(&file, true).unwrap()).len(), probes::PROBES.len());
    }
}

#[test]
fn a_file_that_is_no_recording_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    assert!(format!("{:#}", replay(&file, true).unwrap_err()).contains("cannot read"));
    fs::write(&file, "platform = 3").unwrap();
    assert!(format!("{:#}", replay(&file, true).unwrap_err()).contains("is not a recording"));
    let header = "platform = \"linux\"\nrelease = \"r\"\norigin = \"documented\"\nsource = \"s\"\n";
    fs::write(&file, header).unwrap();
    let error = format!("{:#}", replay(&file, true).unwrap_err());
    assert!(error.contains("no answer to `link /proc/self/ns/pid`"), "{error}");
    fs::write(&file, format!("{header}based_on = \"../../etc/passwd\"\n")).unwrap();
    assert!(format!("{:#}", replay(&file, true).unwrap_err()).contains("based_on must be a file name"));
    fs::write(&file, format!("{header}based_on = \"x\"\n")).unwrap();
    assert!(format!("{:#}", replay(&file, true).unwrap_err()).contains("based on `x`"));
}

#[test]
fn this_machine_is_recorded_and_replayed_to_the_same_facts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("machine.toml");
    let record = RecordArgs { out: file.clone(), release: "test".to_owned(), json: true };
    let mut out = Vec::new();
    record.run(&mut out).unwrap();
    let live = String::from_utf8(out).unwrap();
    let (live, replayed) = (observations(&live), observations(&replay(&file, true).unwrap()));
    assert_eq!(live.len(), replayed.len());
    for (live, replayed) in live.iter().zip(&replayed) {
        // A recording leaves out what names people or the machine.
        let is_left_out =
            ["device-identity", "local-administrators"].iter().any(|control| says(live, "control", control));
        assert!(
            if is_left_out { says(replayed, "outcome", "unavailable") } else { live == replayed },
            "{replayed:?}"
        );
    }
    // A second recording must not replace the first.
    assert!(format!("{:#}", record.run(&mut Vec::new()).unwrap_err()).contains("choose a new file"));
}

#[test]
fn the_list_of_questions_is_printed_for_people_and_machines() {
    let mut out = Vec::new();
    QuestionsArgs { platform: None, json: false }.run(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for line in text.lines() {
        let one_word = line.split_whitespace().count() == 1;
        assert!(one_word || line.trim_end().chars().count() <= COLUMNS_MAX, "{line}");
    }
    assert!(text.contains("\ndisk-encryption\n") && text.contains("  read /proc/self/mountinfo\n"), "{text}");
    let mut out = Vec::new();
    QuestionsArgs { platform: None, json: true }.run(&mut out).unwrap();
    let Ok(Value::Object(members)) = Value::parse(String::from_utf8(out).unwrap().trim_end().as_bytes())
    else {
        panic!("not canonical JSON")
    };
    let Some(Value::Array(questions)) = members.get("questions") else { panic!("no questions") };
    assert_eq!(questions.len(), probes::questions(Platform::current()).len());
}

#[test]
fn the_questions_of_another_system_are_printed_with_its_programs_alone() {
    let mut out = Vec::new();
    QuestionsArgs { platform: Some(platform("windows").unwrap()), json: false }.run(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("Win32_EncryptableVolume") && !text.contains("apt-get"), "{text}");
    assert!(platform("beos").unwrap_err().contains("linux, macos or windows"));
}
