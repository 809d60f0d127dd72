//! The cosigned notes that statements name: whether they are checkpoints of this log. Which there should be, nobody can say
//! who was not there.

use super::{Part, Walk, read_checkpoint};
use crate::datadir::DataDir;
use crate::log::BUNDLE_LEAVES;
use crate::notes;
use crate::payload_bundles::path;
use crate::tree::Folder;

impl Walk<'_> {
    /// Reads the notes of every bundle.
    pub(super) fn notes(&mut self, dir: &DataDir) {
        if !dir.notes().exists() {
            return;
        }
        let folder = Folder::private(&dir.notes());
        for number in 0..self.sealed_size / BUNDLE_LEAVES {
            let what = match folder.path_bytes(&path(number)) {
                Ok(None) => continue,
                Ok(Some(bytes)) => match notes::parse(&bytes) {
                    Some(found) => {
                        self.report.notes += found.len() as u64;
                        let mut read =
                            found.iter().map(|note| read_checkpoint(self.options, note.as_bytes()));
                        let Some(Err(error)) = read.find(Result::is_err) else { continue };
                        format!("the cosigned notes of bundle {number}: {error}")
                    }
                    None => format!("the cosigned notes of bundle {number} have no form"),
                },
                Err(error) => format!("the cosigned notes of bundle {number} could not be read: {error}"),
            };
            self.fault_of(Part::Notes, None, None, what);
        }
    }
}
