//! The artifact store as JSON-RPC sees it.

use std::path::Path;

use assay_manifest::{ArtifactId, ArtifactKind, ArtifactName, Digest32, Manifest};
use assay_store::{IdKind, Store, StoreError};

use crate::rpc::{Artifacts, ImportProgress, LocalArtifact, PortError};

impl Artifacts for Store {
    fn import(
        &self,
        path: &Path,
        kind: ArtifactKind,
        name: Option<&ArtifactName>,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<Manifest, PortError> {
        let manifest = Self::import(self, path, kind, &mut |at| {
            progress(ImportProgress {
                done_bytes: at.bytes_done,
                total_bytes: at.bytes_total,
                file: at.path.to_string(),
            });
        });
        let manifest = manifest.map_err(refused)?;
        if let Some(name) = name {
            self.set_name(name, &manifest.artifact_id()).map_err(failed)?;
        }
        Ok(manifest)
    }

    fn list(&self) -> Result<Vec<LocalArtifact>, PortError> {
        let names = self.names().map_err(failed)?;
        let local = |id: ArtifactId| {
            let manifest = self.get(&id).map_err(failed)?;
            let name = names.iter().find(|(_, named)| *named == id).map(|(name, _)| name.clone());
            Ok(LocalArtifact {
                artifact_id: id,
                name,
                size_bytes: manifest.size_bytes(),
                kind: manifest.kind(),
            })
        };
        Self::list(self).map_err(failed)?.into_iter().map(local).collect()
    }

    fn manifest(&self, artifact: &ArtifactId) -> Result<Option<Manifest>, PortError> {
        match self.get(artifact) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(StoreError::UnknownArtifact(_)) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn find(&self, id: &Digest32) -> Result<Vec<ArtifactId>, PortError> {
        let kinds = [IdKind::Artifact, IdKind::Weights, IdKind::Model];
        let matches = Self::find(self, id).map_err(failed)?;
        Ok(matches.into_iter().filter(|found| kinds.contains(&found.kind)).map(|f| f.artifact_id).collect())
    }
}

/// What was to be imported is at fault, unless the file system is.
fn refused(error: StoreError) -> PortError {
    match error {
        StoreError::Index(_) => failed(error),
        other => PortError::Refused(other.to_string()),
    }
}

fn failed(error: StoreError) -> PortError {
    PortError::Failed(error.to_string())
}
