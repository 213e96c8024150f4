//! The artifact store as JSON-RPC sees it.

use assay_manifest::{ArtifactId, Digest32, Manifest};
use assay_store::{IdKind, PinReason, Progress, Store, StoreError};

use super::model_file::spec_of_file;
use crate::rpc::{
    Artifacts, Collected, ImportProgress, ImportRequest, LocalArtifact, NewArtifact, PortError,
};

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
        let (names, pins) = (self.names().map_err(failed)?, self.pins().map_err(failed)?);
        let local = |id: ArtifactId| {
            let manifest = self.get(&id).map_err(failed)?;
            let name = names.iter().find(|(_, named)| *named == id).map(|(name, _)| name.clone());
            let pins = pins.iter().filter(|(pinned, _)| *pinned == id);
            Ok(LocalArtifact {
                pins: pins.map(|(_, reason)| reason.name().to_owned()).collect(),
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

    fn pin(&self, artifact: &ArtifactId) -> Result<(), PortError> {
        Self::pin(self, artifact, PinReason::User).map_err(|error| match error {
            StoreError::UnknownArtifact(_) => PortError::NotFound(error.to_string()),
            other => failed(other),
        })
    }

    fn unpin(&self, artifact: &ArtifactId) -> Result<(), PortError> {
        Self::unpin(self, artifact, PinReason::User).map_err(failed)
    }

    fn collect(&self, cap_bytes: Option<u64>) -> Result<Collected, PortError> {
        let garbage_blobs = self.collect_garbage().map_err(failed)?;
        let freed = self.evict(cap_bytes.unwrap_or(u64::MAX)).map_err(failed)?;
        Ok(Collected {
            artifacts: freed.artifacts,
            garbage_blobs,
            freed_bytes: freed.freed_bytes,
            left_bytes: freed.left_bytes,
        })
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
