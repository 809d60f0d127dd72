//! Writing a run into the folder of a shipment: files, then the manifest, then away with what it does not name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{MANIFEST, Manifest, ShipmentError, files_below, place, run_folder};
use crate::datadir::{self, DataDirError, replace_file};
use crate::tree::Folder;

/// What a mounted disk has at its top and nobody can do without.
const LOST_AND_FOUND: &str = "lost+found";

/// Stands around every write, sync, rename and removal: tests make one of them fail, before or after it was done.
pub type Around<'a> = dyn Fn(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + 'a;

/// A shipment's folder, locked for this process as long as the value lives.
pub struct Target<'a> {
    root: PathBuf,
    run: u64,
    folder: Folder,
    around: Option<&'a Around<'a>>,
    begun: bool,
    _lock: File,
}

impl<'a> Target<'a> {
    /// Locks the folder, made if there is none, and refuses one that holds anything but a shipment. Gives its manifest.
    pub fn open(
        root: &Path,
        around: Option<&'a Around<'a>>,
    ) -> Result<(Self, Option<Manifest>), ShipmentError> {
        datadir::make_folder(root).map_err(of_folder)?;
        let lock = datadir::lock(root).map_err(of_folder)?;
        let failed = |source| ShipmentError::Io { what: "read", path: root.to_owned(), source };
        for found in fs::read_dir(root).map_err(failed)? {
            let name = found.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if !is_ours(&name) && name != LOST_AND_FOUND {
                return Err(ShipmentError::Foreign { path: root.to_owned(), name });
            }
        }
        let manifest = Manifest::read(root)?;
        let run = manifest.as_ref().map_or(0, |manifest| manifest.run).saturating_add(1);
        let folder = Folder::private(&run_folder(root, run));
        Ok((Self { root: root.to_owned(), run, folder, around, begun: false, _lock: lock }, manifest))
    }

    /// Number of this run.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Whether a file of an earlier run is there with its length. Its bytes are not read.
    pub(crate) fn lies_there(&self, path: &str, shipped: &super::Shipped) -> bool {
        let found = fs::metadata(place(&self.root, shipped.run, path));
        found.is_ok_and(|found| found.is_file() && found.len() == shipped.bytes)
    }

    /// Puts a file into this run's folder. Durable after [`Target::finish`].
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), ShipmentError> {
        self.begin()?;
        let Self { folder, around, .. } = self;
        through(*around, &mut || folder.put_path(path, bytes)).map_err(|source| self.failed(source))
    }

    /// Removes what a manifest that lies there does not name.
    pub fn tidy(self, manifest: &Manifest) -> Result<(), ShipmentError> {
        self.sweep(manifest).map_err(|source| ShipmentError::Io {
            what: "remove what is not needed any more from",
            path: self.root.clone(),
            source,
        })
    }

    /// Makes the files durable, then the manifest that names them, and removes what it does not name.
    pub fn finish(mut self, manifest: &Manifest) -> Result<(), ShipmentError> {
        if self.begun {
            let Self { folder, around, .. } = &mut self;
            through(*around, &mut || folder.sync()).map_err(|source| self.failed(source))?;
        }
        let path = self.root.join(MANIFEST);
        let failed = |source| ShipmentError::Io { what: "write", path: path.clone(), source };
        let bytes = manifest.encode().ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        through(self.around, &mut || replace_file(&path, &bytes)).map_err(failed)?;
        self.tidy(manifest)
    }

    /// Begins with an empty folder, whatever an interrupted run left.
    fn begin(&mut self) -> Result<(), ShipmentError> {
        if self.begun {
            return Ok(());
        }
        let path = run_folder(&self.root, self.run);
        let Self { folder, around, .. } = self;
        let begun = through(*around, &mut || {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            folder.prepare()
        });
        begun.map_err(|source| self.failed(source))?;
        self.begun = true;
        Ok(())
    }

    /// Removes every file that the manifest does not name: bundles that grew, payloads that were erased since.
    fn sweep(&self, manifest: &Manifest) -> io::Result<()> {
        for found in fs::read_dir(&self.root)? {
            let folder = found?;
            let name = folder.file_name().to_string_lossy().into_owned();
            let Some(run) = run_number(&name) else { continue };
            let root = folder.path();
            match fs::remove_dir_all(root.join(".new")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            for path in files_below(&root)? {
                if manifest.files.get(&path).is_none_or(|shipped| shipped.run != run) {
                    through(self.around, &mut || fs::remove_file(root.join(&path)))?;
                }
            }
            remove_empty(&root)?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ShipmentError {
        ShipmentError::Io { what: "write into", path: run_folder(&self.root, self.run), source }
    }
}

fn through(around: Option<&Around<'_>>, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
    match around {
        Some(around) => around(step),
        None => step(),
    }
}

/// Whether a name at the top of the folder is one that a backup makes.
fn is_ours(name: &str) -> bool {
    name == MANIFEST || name.strip_prefix(MANIFEST) == Some(".new") || run_number(name).is_some()
}

/// The number of a run's folder.
fn run_number(name: &str) -> Option<u64> {
    let digits = name.len() >= 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|run| digits && format!("{run:08}") == name)
}

/// Removes a folder and those in it, as far as there is nothing else in them.
fn remove_empty(folder: &Path) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let found = found?;
        if found.file_type()?.is_dir() {
            remove_empty(&found.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

fn of_folder(error: DataDirError) -> ShipmentError {
    match error {
        DataDirError::Locked { path } => ShipmentError::Locked { path },
        DataDirError::Io { what, path, source } => ShipmentError::Io { what, path, source },
        other => ShipmentError::Io { what: "open", path: PathBuf::new(), source: io::Error::other(other) },
    }
}
