//! Seeds as files: `fuzz/corpus/<parser>/<SHA-256>`, from the sets that `tests/oracle/make_set.py SETS` made.

use std::error::Error;
use std::fs;
use std::path::Path;

use evidence::ids::Digest;
use evidence::set::Files;

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
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut written = 0;
    for entry in fs::read_dir(sets)? {
        let folder = entry?.path();
        let Ok(trust) = fs::read(folder.with_extension("trust.json")) else { continue };
        let mut files = Files::new();
        read(&folder, &folder, &mut files)?;
        for (name, seeds) in fuzz::seeds(&files, &trust) {
            fs::create_dir_all(corpus.join(name))?;
            for seed in seeds {
                fs::write(corpus.join(name).join(Digest::of(&seed).hex()), &seed)?;
                written += 1;
            }
        }
    }
    if written == 0 {
        return Err(format!("{} holds no sets", sets.display()).into());
    }
    println!("{}", fuzz::entries().map(|(name, _)| name).collect::<Vec<_>>().join(" "));
    Ok(())
}
