//! Which files an import consists of.

use crate::error::StoreError;
use crate::partial::Partial;
use assay_manifest::RelativePath;
use assay_manifest::manifest::FILES_MAX;
use assay_manifest::path::PathError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file to import.
pub(crate) struct Source {
    /// Where it is.
    pub(crate) location: PathBuf,
    /// The download that it is of, which is read through: others who need it too may move it to its place at any time.
    pub(crate) download: Option<Arc<Partial>>,
    /// Where it stands in the artifact.
    pub(crate) path: RelativePath,
    /// Its length when the import began.
    pub(crate) size: u64,
}

/// Deepest nesting of directories; published models and datasets stay under ten.
const DEPTH_MAX: usize = 32;

/// The file `root`, or the files below it, sorted by path.
pub(super) fn walk(root: &Path) -> Result<Vec<Source>, StoreError> {
    let name = || root.file_name().and_then(|name| name.to_str());
    let mut sources = Vec::new();
    match kind(root)? {
        Kind::File { size } => {
            let path = relative(root, name().unwrap_or_default())?;
            sources.push(Source { location: root.to_owned(), download: None, path, size });
        }
        Kind::Directory => directory(root, "", DEPTH_MAX, &mut sources)?,
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

enum Kind {
    File { size: u64 },
    Directory,
}

fn kind(path: &Path) -> Result<Kind, StoreError> {
    let metadata = fs::symlink_metadata(path).map_err(StoreError::io("importing", path))?;
    match metadata.file_type() {
        kind if kind.is_symlink() => Err(StoreError::Symlink(path.to_owned())),
        kind if kind.is_dir() => Ok(Kind::Directory),
        kind if kind.is_file() => Ok(Kind::File { size: metadata.len() }),
        _ => Err(StoreError::SpecialFile(path.to_owned())),
    }
}

fn relative(location: &Path, text: &str) -> Result<RelativePath, StoreError> {
    text.parse().map_err(|source| StoreError::Path { path: location.to_owned(), source })
}

/// Adds the files below `location`, whose paths begin with `prefix`.
fn directory(
    location: &Path,
    prefix: &str,
    depth: usize,
    sources: &mut Vec<Source>,
) -> Result<(), StoreError> {
    let depth = depth.checked_sub(1).ok_or_else(|| StoreError::TooDeep(location.to_owned()))?;
    let listing = StoreError::io("listing", location);
    let entries = fs::read_dir(location).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    for entry in entries.map_err(listing)? {
        let location = entry.path();
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str() else {
            return Err(StoreError::Path { path: location, source: PathError::Character });
        };
        if prefix.is_empty() && name.starts_with(".git") {
            continue;
        }
        let path = format!("{prefix}{name}");
        match kind(&location)? {
            Kind::Directory => directory(&location, &format!("{path}/"), depth, sources)?,
            Kind::File { .. } if sources.len() >= FILES_MAX as usize => {
                return Err(StoreError::TooManyFiles(location));
            }
            Kind::File { size } => {
                let path = relative(&location, &path)?;
                sources.push(Source { location, download: None, path, size });
            }
        }
    }
    Ok(())
}
