//! Reading a set's folder: regular files only, within limits, following no link.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use evidence::set::Files;
use evidence::verify::Irregular;

/// Most files of a set: 10,000 units of 64 controls would be fewer statements than this.
const FILES_MAX: usize = 2_000_000;
/// Largest single file, in bytes: a population of a million units has about 70 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Largest set, in bytes: it is held in memory.
const SET_BYTES_MAX: u64 = 4 << 30;
/// Deepest folder: `units/<control>/<nnnn>/<file>` is four.
const DEPTH_MAX: usize = 8;

/// Why a folder could not be read as a set.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// An operating-system error.
    #[error("cannot read {path}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A limit.
    #[error("{path}: {problem}")]
    Limit {
        /// Where.
        path: PathBuf,
        /// Which limit.
        problem: &'static str,
    },
}

/// Every regular file below `root` by its path, and the names of everything that is not one.
pub fn read_set(root: &Path) -> Result<(Files, Irregular), FolderError> {
    let mut files = Files::new();
    let mut irregular = Irregular::new();
    let mut total = 0;
    walk(root, "", 0, &mut files, &mut irregular, &mut total)?;
    Ok((files, irregular))
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Files,
    irregular: &mut Irregular,
    total: &mut u64,
) -> Result<(), FolderError> {
    let io = |path: &Path, source| FolderError::Io { path: path.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(|source| io(folder, source))? {
        let entry = entry.map_err(|source| io(folder, source))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|source| io(&path, source))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            irregular.push(path.display().to_string());
            continue;
        };
        let within = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if kind.is_dir() {
            if depth >= DEPTH_MAX {
                irregular.push(within);
                continue;
            }
            walk(&path, &within, depth + 1, files, irregular, total)?;
        } else if kind.is_file() {
            let bytes = match read_bounded(&path) {
                Ok(bytes) => bytes,
                // A file that cannot be read is a finding about the set, not a reason to stop.
                Err(error) => {
                    irregular.push(format!("{within} ({error}), so it"));
                    continue;
                }
            };
            *total = total.saturating_add(bytes.len() as u64);
            if *total > SET_BYTES_MAX || files.len() >= FILES_MAX {
                return Err(FolderError::Limit {
                    path,
                    problem: "the set is larger than 4 GiB or 2,000,000 files",
                });
            }
            files.insert(within, bytes);
        } else {
            irregular.push(within);
        }
    }
    Ok(())
}

/// A regular file of a public tree; `path` is one that [`evidence::tiles`] wrote.
pub(crate) fn read_of_tree(root: &Path, path: &str) -> std::io::Result<Vec<u8>> {
    let path = root.join(path);
    if !std::fs::symlink_metadata(&path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    read_bounded(&path)
}

/// A file's bytes, at most 256 MiB.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 256 MiB"));
    }
    Ok(bytes)
}
