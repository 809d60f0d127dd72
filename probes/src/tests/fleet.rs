//! All machines of `recordings/`, by file name.
#![expect(clippy::disallowed_methods, reason = "tests read the recorded machines from their folder")]

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use proto::AssetClaim;

use crate::{Answers, Outcome, PROBES, Probe, Recording, Replay, asset, drive};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings")
}

/// One recording with everything it is based on.
pub(super) fn recording(name: &str) -> Recording {
    let path = folder().join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let recording = Recording::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    match recording.based_on.clone() {
        Some(base) => recording.over(self::recording(&base)),
        None => recording,
    }
}

/// Every recording.
pub(super) fn recordings() -> BTreeMap<String, Recording> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .map(|name| (name.clone(), recording(&name)))
        .collect()
}

/// Every machine; the files are read once.
pub(super) fn machines() -> &'static BTreeMap<String, Replay> {
    static MACHINES: LazyLock<BTreeMap<String, Replay>> = LazyLock::new(|| {
        recordings()
            .into_iter()
            .map(|(name, r)| (name.clone(), r.replay().unwrap_or_else(|e| panic!("{name}: {e}"))))
            .collect()
    });
    &MACHINES
}

/// The probe of a control.
pub(super) fn probe(control: &str) -> &'static Probe {
    PROBES.iter().find(|probe| probe.control == control).unwrap()
}

/// What one probe concludes, and the questions it asked.
pub(super) fn look(name: &str, control: &str, machine: &Replay) -> (Outcome, Answers) {
    let mut answers = Answers::new();
    let outcome = drive(probe(control), machine.platform(), machine, &mut answers)
        .unwrap_or_else(|missing| panic!("{name}: {missing}"));
    (outcome, answers)
}

/// What a machine claims to be, and the questions that took.
pub(super) fn claim(name: &str, machine: &Replay) -> (Option<AssetClaim>, Answers) {
    let mut answers = Answers::new();
    let claim = asset(machine.platform(), machine, &mut answers)
        .unwrap_or_else(|missing| panic!("{name}: {missing}"));
    (claim, answers)
}
