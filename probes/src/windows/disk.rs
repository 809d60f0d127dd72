//! `disk-encryption` on Windows: is every local volume behind BitLocker, turned on and not suspended?
//!
//! What counts is what the methods of `Win32_EncryptableVolume` say: its properties are kept from earlier and have
//! shown a decrypted volume as protected. That no volume is missing is checked against `Win32_Volume`.

use std::collections::BTreeMap;

use proto::{Coverage, DiskEncryption, Layer, Volume, VolumePurpose, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    question::Question,
    table::{Row, Table, Value},
    windows,
};

pub(crate) const ENCRYPTABLE: Question = Question::Wmi {
    namespace: r"root\CIMV2\Security\MicrosoftVolumeEncryption",
    class: "Win32_EncryptableVolume",
    names: &["DeviceID", "DriveLetter", "VolumeType", PROTECTION, CONVERSION, METHOD],
};
pub(crate) const VOLUMES: Question = Question::Wmi {
    namespace: r"root\CIMV2",
    class: "Win32_Volume",
    names: &["DeviceID", "DriveLetter", "DriveType", "FileSystem", "BootVolume", "SystemVolume"],
};
pub(crate) const PARTITIONS: Question = Question::Wmi {
    namespace: r"root\Microsoft\Windows\Storage",
    class: "MSFT_Partition",
    names: &["AccessPaths", "GptType", "MbrType"],
};
const PROTECTION: &str = "GetProtectionStatus.ProtectionStatus";
const CONVERSION: &str = "GetConversionStatus.ConversionStatus";
const METHOD: &str = "GetEncryptionMethod.EncryptionMethod";
/// `DriveType` of what can be pulled out, and of what cannot.
const REMOVABLE: u64 = 2;
const LOCAL: u64 = 3;
/// `VolumeType` of BitLocker for what can be pulled out.
const ENCRYPTABLE_REMOVABLE: u64 = 2;
/// Type of the partition the firmware starts from.
const GPT_EFI: &str = "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}";
/// Type of the partition with the recovery system, which holds nobody's data and is never encrypted.
const GPT_RECOVERY: &str = "{de94bba4-06d1-4d40-a16a-bfd50179d6ac}";
/// The same on disks with the old partition table.
const MBR_RECOVERY: u64 = 0x27;
/// What is reported as the mount point of a volume without a letter: a folder may name a person.
const NO_LETTER: &str = "[no letter]";
/// Most rows of a list of facts (docs/FORMAT.md section 3).
const VOLUMES_MAX: usize = 256;

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let encryptable = windows::ask(&mut round, ENCRYPTABLE);
    let listed = windows::ask(&mut round, VOLUMES);
    let partitions = windows::ask(&mut round, PARTITIONS);
    if let Some(step) = round.pending() {
        return step;
    }
    // Windows lies on a volume, so an empty list is no list.
    let Some(protection) = encryptable.table().filter(|t| !t.rows.is_empty()).and_then(by_device) else {
        return encryptable.unusable();
    };
    let Some(volumes) = listed.table().and_then(|table| volumes(table, &protection, partitions.table()))
    else {
        return listed.unusable();
    };
    let volumes_truncated = volumes.len() > VOLUMES_MAX;
    let volumes = volumes.into_iter().take(VOLUMES_MAX).collect();
    Step::Done(Outcome::observed(Control::DiskEncryption(DiskEncryption { volumes, volumes_truncated })))
}

/// The rows by the volume's path, `\\?\Volume{…}\`; `None` when a path is missing or told twice.
fn by_device<'t, 'a>(table: &'t Table<'a>) -> Option<BTreeMap<String, &'t Row<'a>>> {
    let rows: BTreeMap<String, &Row<'a>> = table
        .rows
        .iter()
        .map(|row| Some((row.text("DeviceID")?.to_ascii_lowercase(), row)))
        .collect::<Option<_>>()?;
    (rows.len() == table.rows.len()).then_some(rows)
}

/// One row per local volume, the one with Windows first. `None` when the two lists contradict each other.
fn volumes(
    table: &Table<'_>,
    protection: &BTreeMap<String, &Row<'_>>,
    partitions: Option<&Table<'_>>,
) -> Option<Vec<Volume>> {
    let listed = by_device(table)?;
    let mut rows = Vec::new();
    for (device, row) in &listed {
        let drive_type = row.number("DriveType")?;
        let removable = drive_type == REMOVABLE;
        if drive_type == LOCAL || removable {
            let purpose = purpose(row, partition(partitions, device))?;
            let found = protection.get(device).copied();
            rows.push((
                purpose,
                volume(purpose, row.text("DriveLetter"), row.text("FileSystem"), removable, found),
            ));
        }
    }
    if rows.iter().filter(|(purpose, _)| *purpose == VolumePurpose::Root).count() != 1 {
        return None;
    }
    // A volume only BitLocker knows counts as well.
    for (_, row) in protection.iter().filter(|(device, _)| !listed.contains_key(*device)) {
        let removable = row.number("VolumeType")? == ENCRYPTABLE_REMOVABLE;
        rows.push((
            VolumePurpose::Data,
            volume(VolumePurpose::Data, row.text("DriveLetter"), None, removable, Some(*row)),
        ));
    }
    let rank = |purpose: VolumePurpose| match purpose {
        VolumePurpose::Root => 0_u8,
        VolumePurpose::Boot => 2,
        VolumePurpose::Efi => 3,
        _ => 1,
    };
    rows.sort_by(|(a, left), (b, right)| (rank(*a), &left.mount).cmp(&(rank(*b), &right.mount)));
    Some(rows.into_iter().map(|(_, volume)| volume).collect())
}

/// The partition behind a volume.
fn partition<'t, 'a>(partitions: Option<&'t Table<'a>>, device: &str) -> Option<&'t Row<'a>> {
    partitions?.rows.iter().find(|row| {
        row.all("AccessPaths")
            .any(|path| matches!(path, Value::Text(path) if path.eq_ignore_ascii_case(device)))
    })
}

/// What a volume is for. Windows calls the volume it was started from the system volume, and the one it lies on
/// the boot volume. Only the types of partitions that hold nobody's data are taken out of the data.
fn purpose(row: &Row<'_>, partition: Option<&Row<'_>>) -> Option<VolumePurpose> {
    if row.number("BootVolume")? != 0 {
        return Some(VolumePurpose::Root);
    }
    let gpt = partition.and_then(|p| p.text("GptType")).unwrap_or_default();
    let recovery = gpt.eq_ignore_ascii_case(GPT_RECOVERY)
        || partition.and_then(|p| p.number("MbrType")) == Some(MBR_RECOVERY);
    Some(if gpt.eq_ignore_ascii_case(GPT_EFI) {
        VolumePurpose::Efi
    } else if recovery || row.number("SystemVolume")? != 0 {
        VolumePurpose::Boot
    } else {
        VolumePurpose::Data
    })
}

fn volume(
    purpose: VolumePurpose,
    letter: Option<&str>,
    filesystem: Option<&str>,
    removable: bool,
    protection: Option<&Row<'_>>,
) -> Volume {
    let by_design = matches!(purpose, VolumePurpose::Boot | VolumePurpose::Efi);
    let (encryption, layers) = match protection {
        Some(row) => coverage(row.number(PROTECTION), row.number(CONVERSION), row.number(METHOD)),
        // BitLocker does not list what it never encrypts.
        None if by_design => (Coverage::None, Vec::new()),
        None => (Coverage::Unspecified, Vec::new()),
    };
    Volume {
        purpose: purpose.into(),
        mount: letter.filter(|letter| !letter.is_empty()).unwrap_or(NO_LETTER).to_owned(),
        filesystem: filesystem.unwrap_or_default().to_ascii_lowercase(),
        encryption: encryption.into(),
        leaves: u32::from(encryption != Coverage::Unspecified),
        leaves_encrypted: u32::from(encryption == Coverage::Full),
        layers: layers.into_iter().map(i32::from).collect(),
        removable: Some(removable),
        virtual_disk: None,
    }
}

/// Protection: 0 off or suspended, 1 on, 2 locked. Conversion: 0 decrypted, 1 encrypted, 2 to 5 on the way or
/// stopped there. Method: 0 none, 1 to 7 a cipher. A suspended volume is encrypted with a key that lies open on it.
fn coverage(protection: Option<u64>, conversion: Option<u64>, method: Option<u64>) -> (Coverage, Vec<Layer>) {
    match (protection, conversion, method) {
        (Some(0 | 1), Some(0), Some(_)) => (Coverage::None, Vec::new()),
        (Some(0), Some(1), Some(_)) => (Coverage::None, vec![Layer::Bitlk]),
        (Some(1), Some(1), Some(1..=7)) => (Coverage::Full, vec![Layer::Bitlk]),
        (Some(0 | 1), Some(2..=5), Some(_)) => (Coverage::Partial, vec![Layer::Bitlk]),
        _ => (Coverage::Unspecified, Vec::new()),
    }
}
