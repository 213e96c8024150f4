//! What serving needs from others.

use assay_manifest::ModelId;
use assay_runtime::AccountId;

/// A model could not be loaded.
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
}

/// Loads models and lets them go. Loading blocks for as long as it takes to read and pack the weights.
pub trait Shelf: Send + Sync + 'static {
    /// Has a model loaded for these identities; nothing to do but to note them if it is already.
    ///
    /// # Errors
    /// [`LoadError`] when it is not here, or cannot be run.
    fn load(&self, model: &ModelId, identities: Vec<AccountId>) -> Result<(), LoadError>;
    /// Lets every other model go.
    fn keep_only(&self, models: &[ModelId]);
}
