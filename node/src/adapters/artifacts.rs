//! The artifact store as JSON-RPC sees it.

use assay_manifest::{ArtifactId, Digest32, Manifest};
use assay_store::{IdKind, Progress, Store, StoreError};

use super::model_file::spec_of_file;
use crate::rpc::{Artifacts, ImportProgress, ImportRequest, LocalArtifact, NewArtifact, PortError};

impl Artifacts for Store {
    fn import(
        &self,
        request: &ImportRequest<'_>,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<NewArtifact, PortError> {
        let ImportRequest { path, kind, name, expected } = *request;
        let mut tell = |at: Progress<'_>| {
            progress(ImportProgress {
                done_bytes: at.bytes_done,
                total_bytes: at.bytes_total,
                file: at.path.to_string(),
            });
        };
        let manifest = match expected {
            Some(expected) => self.import_expecting(path, kind, expected, &mut tell),
            None => Self::import(self, path, kind, &mut tell),
        };
        let manifest = manifest.map_err(refused)?;
        if let Some(name) = name {
            self.set_name(name, &manifest.artifact_id()).map_err(failed)?;
        }
        Ok(NewArtifact { spec_id: spec_of_file(self, &manifest), manifest })
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
