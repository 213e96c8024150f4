//! What serving needs from others.

use std::collections::BTreeSet;

use assay_manifest::{ArtifactId, ModelId, SpecId};
use assay_runtime::AccountId;
use futures::future::BoxFuture;

/// A model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not in the store.
    #[error("loading the model {0}: it is not in this node's store; import it")]
    NotHere(ModelId),
    /// It is there, but cannot be run.
    #[error("loading the model {model}: {cause}")]
    Unusable {
        /// The model.
        model: ModelId,
        /// What is wrong.
        cause: String,
    },
    /// Its files are not what their manifest says.
    #[error(
        "loading the model {model}: the files in this node's store make the model {found}; import it again"
    )]
    OtherModel {
        /// The model.
        model: ModelId,
        /// What the files make.
        found: ModelId,
    },
    /// The ledger does not know it.
    #[error(
        "serving the model {0}: nobody has it registered on the ledger; register it with `assay model register`"
    )]
    NotRegistered(ModelId),
    /// An offer, or a seat that came of one, promises other definitions than the engine follows.
    #[error(
        "serving the model {model}: the offer names the spec {offered}, and this node executes it by {spec}; \
         offer it anew with `assay provider offer`"
    )]
    OfferedOtherwise {
        /// The model.
        model: ModelId,
        /// What the offer names.
        offered: SpecId,
        /// What the engine follows here.
        spec: SpecId,
    },
    /// Registrations state other definitions than the engine follows.
    #[error(
        "serving the model {model}: this node executes it by the spec {spec}, which no registration states; \
         serve it with a node that follows a stated one, or register it as this node runs it"
    )]
    OtherSpec {
        /// The model.
        model: ModelId,
        /// What the engine follows here.
        spec: SpecId,
    },
}

/// A model that is not here could not be brought.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupplyError {
    /// Nobody gives it, or this node failed: asking again in a while may help.
    #[error("{0}")]
    Away(String),
    /// It is more than may be fetched, or not what it should be: asking again soon does not help.
    #[error("{0}")]
    Refused(String),
}

/// Brings artifacts of models that are not in this node's store.
pub trait Supply: Send + Sync + 'static {
    /// Returns when the artifact is in the store, every id computed anew. One of more than `bytes_max` is not fetched,
    /// nor one for which there is no room.
    ///
    /// # Errors
    /// [`SupplyError`] when nobody gives it, it is too large, or what came does not make it.
    fn bring(&self, artifact: ArtifactId, bytes_max: Option<u64>) -> BoxFuture<'_, Result<(), SupplyError>>;
    /// Tells others that this node has an artifact and keeps it. Does not block.
    fn share(&self, artifact: ArtifactId);
}

/// Loads models and lets them go. Loading blocks for as long as it takes to read and pack the weights.
pub trait Shelf: Send + Sync + 'static {
    /// The definitions that executions of a model would follow here; reads no weights.
    ///
    /// # Errors
    /// [`LoadError`] when it is not here, or cannot be run.
    fn spec(&self, model: &ModelId) -> Result<SpecId, LoadError>;
    /// Has a model loaded for these identities, after its files were found to make it and its engine to follow
    /// `spec`; nothing to do but to note the identities if it is already.
    ///
    /// # Errors
    /// [`LoadError`] when it is not here, is not what it should be, or cannot be run.
    fn load(&self, model: &ModelId, spec: &SpecId, identities: Vec<AccountId>) -> Result<(), LoadError>;
    /// The artifact of a model that is loaded.
    fn artifact(&self, model: &ModelId) -> Option<ArtifactId>;
    /// Notes which models will not be here soon, in place of those noted before, so that nobody waits for them. Does not
    /// block.
    fn give_up(&self, models: BTreeSet<ModelId>);
    /// Whether a model is loaded.
    fn holds(&self, model: &ModelId) -> bool;
    /// Lets every other model go.
    fn keep_only(&self, models: &[ModelId]);
}
