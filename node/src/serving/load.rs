//! Loading one model, as the ledger knows it.

use std::sync::Arc;

use assay_manifest::{ModelId, SpecId};
use assay_runtime::AccountId;

use super::ports::{LoadError, Shelf};
use crate::ledger::{LedgerError, LedgerHandle};

/// Whether a model was loaded before it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It was.
    Loaded,
    /// It was not.
    Away,
}

/// Has a model loaded that the ledger knows as the one that lies here, if it is not.
///
/// # Errors
/// [`ServeError`].
pub async fn serve<S: Shelf>(
    ledger: &LedgerHandle,
    shelf: &Arc<S>,
    (model, offered): (ModelId, Option<SpecId>),
    identities: Vec<AccountId>,
) -> Result<Before, ServeError> {
    let spec = on_shelf(shelf, move |shelf| shelf.spec(&model)).await?;
    if let Some(offered) = offered.filter(|offered| *offered != spec) {
        return Err(LoadError::OfferedOtherwise { model, offered, spec }.into());
    }
    let before = if shelf.holds(&model) { Before::Loaded } else { Before::Away };
    if before == Before::Away {
        let agrees = ledger.query(None, "ArtifactsApi_agrees", (model, spec)).await?;
        check(model, spec, agrees)?;
    }
    on_shelf(shelf, move |shelf| shelf.load(&model, &spec, identities)).await?;
    Ok(before)
}

/// What the ledger says of a model that executes by `spec` here.
fn check(model: ModelId, spec: SpecId, agrees: Option<bool>) -> Result<(), LoadError> {
    match agrees {
        Some(true) => Ok(()),
        Some(false) => Err(LoadError::OtherSpec { model, spec }),
        None => Err(LoadError::NotRegistered(model)),
    }
}

/// Reads and packs on a thread where that may take long.
///
/// # Errors
/// [`ServeError`].
pub async fn on_shelf<S: Shelf, T: Send + 'static>(
    shelf: &Arc<S>,
    call: impl FnOnce(&S) -> Result<T, LoadError> + Send + 'static,
) -> Result<T, ServeError> {
    let shelf = Arc::clone(shelf);
    let called = tokio::task::spawn_blocking(move || call(&shelf)).await;
    Ok(called.map_err(|_| ServeError::Panicked)??)
}

/// An offered model is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("asking the ledger for a model's registrations: {0}")]
    Ledger(#[from] LedgerError),
    #[error("loading a model: the thread panicked")]
    Panicked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_served_only_as_it_is_registered() {
        let (model, spec) = (ModelId::from_bytes([1; 32]), SpecId::from_bytes([2; 32]));
        assert!(check(model, spec, Some(true)).is_ok());
        assert!(matches!(check(model, spec, Some(false)), Err(LoadError::OtherSpec { .. })));
        assert!(matches!(check(model, spec, None), Err(LoadError::NotRegistered(_))));
    }
}
