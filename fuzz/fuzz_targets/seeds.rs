//! Seeds as files: `SETS/seeds/<parser>/<SHA-256>`, from the sets that `tests/oracle/make_set.py SETS` made.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

use evidence::ids::Digest;
use evidence::set::Files;

/// Most seeds of a parser: the shortest ones. Every run reads its whole corpus before it makes an input of its own.
const SEEDS_MAX: usize = 100;

fn read(root: &Path, folder: &Path, files: &mut Files) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            read(root, &path, files)?;
        } else if entry.file_type()?.is_file() {
            files.insert(path.strip_prefix(root)?.to_string_lossy().into_owned(), fs::read(&path)?);
        }
    }
    Ok(())
}

/// Writes all of them. Prints the names of all parsers, on one line.
pub fn write(sets: &Path) -> Result<(), Box<dyn Error>> {
    let mut all: BTreeMap<&str, BTreeSet<(usize, Vec<u8>)>> = BTreeMap::new();
    for entry in fs::read_dir(sets)? {
        let folder = entry?.path();
        let Ok(trust) = fs::read(folder.with_extension("trust.json")) else { continue };
        let mut files = Files::new();
        read(&folder, &folder, &mut files)?;
        for (name, seeds) in fuzz::seeds(&files, &trust) {
            all.entry(name).or_default().extend(seeds.into_iter().map(|seed| (seed.len(), seed)));
        }
    }
    if all.is_empty() {
        return Err(format!("{} holds no sets", sets.display()).into());
    }
    for (name, seeds) in all {
        let folder = sets.join("seeds").join(name);
        fs::create_dir_all(&folder)?;
        for (_, seed) in seeds.into_iter().take(SEEDS_MAX) {
            fs::write(folder.join(Digest::of(&seed).hex()), &seed)?;
        }
    }
    println!("{}", fuzz::entries().map(|(name, _)| name).collect::<Vec<_>>().join(" "));
    Ok(())
}
