//! Loaded models: run by the engine, read from the store, named by the ledger's ids.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use assay_engine::engine::Claimed;
use assay_engine::{Engine, Execution, Failure, LoadOptions, Model, Verified};
use assay_manifest::{ArtifactId, Digest32, Manifest, ModelId, SpecId};
use assay_protocol::request::{Request, prompt_hash};
use assay_runtime::AccountId;
use assay_store::{IdKind, Store, StoreError};

use super::model_file::{open_model, recomputed, spec_of_file};
use crate::rpc::{self, Ask, PortError, Prepared};
use crate::serving::{LoadError, Shelf};
use crate::worker::{Answer, Compute, ComputeError, Outcome, Served};

/// The models that this node can run.
pub struct Models {
    engine: Engine,
    store: Arc<Store>,
    loaded: RwLock<BTreeMap<ModelId, Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    model: Arc<Model>,
    artifact_id: ArtifactId,
    identities: Vec<AccountId>,
}

impl Models {
    /// No models yet; they will come from `store` and run on `engine`.
    pub fn new(engine: Engine, store: Arc<Store>) -> Self {
        Self { engine, store, loaded: RwLock::default() }
    }

    /// A loaded model.
    pub fn get(&self, id: &ModelId) -> Option<Arc<Model>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.get(id).map(|entry| Arc::clone(&entry.model))
    }

    fn require(&self, id: &ModelId) -> Result<Arc<Model>, ComputeError> {
        self.get(id).ok_or_else(|| ComputeError(format!("{id} is not loaded")))
    }

    /// The artifact in the store that holds a model, and what it holds.
    fn manifest(&self, id: &ModelId) -> Result<(ArtifactId, Manifest), LoadError> {
        let unusable = |error: StoreError| LoadError::Unusable { model: *id, cause: error.to_string() };
        let found = self.store.find(&id.digest()).map_err(unusable)?;
        let found = found.into_iter().find(|found| found.kind == IdKind::Model);
        let artifact_id = found.ok_or(LoadError::NotHere(*id))?.artifact_id;
        Ok((artifact_id, self.store.get(&artifact_id).map_err(unusable)?))
    }

    /// Reads the model's one GGUF file, computes its ids anew, and packs it.
    fn read(&self, id: &ModelId) -> Result<Loaded, LoadError> {
        let unusable = |cause: String| LoadError::Unusable { model: *id, cause };
        let (artifact_id, manifest) = self.manifest(id)?;
        let file = open_model(&self.store, &manifest).map_err(unusable)?;
        match recomputed(&file, &manifest).map_err(unusable)?.model_id() {
            Some(found) if found == *id => {}
            found => return Err(LoadError::OtherModel { model: *id, found: found.unwrap_or(ModelId::ZERO) }),
        }
        let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| {});
        let model = model.map_err(|error| unusable(error.to_string()))?;
        Ok(Loaded { model, artifact_id, identities: Vec::new() })
    }
}

impl Shelf for Models {
    fn spec(&self, model: &ModelId) -> Result<SpecId, LoadError> {
        let (_, manifest) = self.manifest(model)?;
        let cause = || "no engine computes models of this kind exactly, and others cannot be sold".into();
        spec_of_file(&self.store, &manifest)
            .ok_or_else(|| LoadError::Unusable { model: *model, cause: cause() })
    }

    fn load(&self, model: &ModelId, spec: &SpecId, identities: Vec<AccountId>) -> Result<(), LoadError> {
        let known = self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned();
        let loaded = match known {
            Some(loaded) => loaded,
            None => self.read(model)?,
        };
        let found = loaded.model.spec_id();
        if found != *spec {
            return Err(LoadError::OtherSpec { model: *model, spec: found });
        }
        let mut all = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(*model, Loaded { identities, ..loaded });
        Ok(())
    }

    fn holds(&self, model: &ModelId) -> bool {
        self.get(model).is_some()
    }

    fn keep_only(&self, models: &[ModelId]) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|id, _| models.contains(id));
    }
}

impl rpc::Models for Models {
    fn serving(&self) -> Vec<rpc::Serving> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let serving = |(id, entry): (&ModelId, &Loaded)| rpc::Serving {
            model_id: *id,
            artifact_id: entry.artifact_id,
            identities: entry.identities.clone(),
        };
        loaded.iter().map(serving).collect()
    }

    fn spec_of(&self, model: &ModelId) -> Result<SpecId, PortError> {
        Shelf::spec(self, model).map_err(|error| PortError::Refused(error.to_string()))
    }

    fn prepare(&self, ask: &Ask) -> Result<Prepared, PortError> {
        let refused =
            |cause: &dyn std::fmt::Display| PortError::Refused(format!("preparing a request: {cause}"));
        let model = self.get(&ask.model).ok_or_else(|| {
            refused(&format_args!("{} is not loaded here: no provider of this node offers it", ask.model))
        })?;
        assay_engine::sampler::check(&ask.sampler, model.text().vocab_size())
            .map_err(|error| refused(&error))?;
        let tokens = model.text().render(&ask.prompt, ask.now_s).map_err(|error| refused(&error))?;
        let context_length = model.config().context_length;
        let n_in = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        if n_in.saturating_add(ask.max_tokens) > context_length {
            return Err(refused(&format_args!(
                "the prompt has {n_in} tokens, and with {} to generate that is over the model's {context_length}",
                ask.max_tokens
            )));
        }
        Ok(Prepared {
            model_id: ask.model,
            spec_id: model.spec_id(),
            n_in,
            prompt_hash: prompt_hash(&tokens),
            context_length,
        })
    }
}

impl Compute for Models {
    fn served(&self) -> Vec<Served> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().map(|(id, entry)| Served { model_id: *id, spec_id: entry.model.spec_id() }).collect()
    }

    fn fits(&self, model: &ModelId, request: &Request) -> Result<bool, ComputeError> {
        let model = self.require(model)?;
        let failed = |error: &dyn std::fmt::Display| ComputeError(error.to_string());
        self.engine.check_memory(&model, request).map_err(|error| failed(&error))?;
        let tokens = match model.text().render(&request.prompt, request.now_s) {
            Ok(tokens) => tokens,
            // A template that refuses the messages is an agreed failure, not a prompt of another tokenizer.
            Err(error) if error.fail_code().is_some() => return Ok(true),
            Err(error) => return Err(failed(&error)),
        };
        let counted = u32::try_from(tokens.len()).is_ok_and(|n_in| n_in == request.n_in);
        Ok(counted && prompt_hash(&tokens) == request.prompt_hash)
    }

    fn execute(&self, model: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError> {
        let model = self.require(model)?;
        let execution = self.engine.execute(&model, request, seed, &mut ());
        Ok(outcome(execution.map_err(|error| ComputeError(error.to_string()))?))
    }

    fn verify(
        &self,
        model: &ModelId,
        request: &Request,
        seed: &Digest32,
        claimed: &Answer,
    ) -> Result<Outcome, ComputeError> {
        let model = self.require(model)?;
        let claim = Claimed { tokens: &claimed.tokens, finish: claimed.finish };
        let verified = self.engine.verify(&model, request, seed, claim, &mut ());
        Ok(match verified.map_err(|error| ComputeError(error.to_string()))? {
            Verified::Accepted(execution) | Verified::Failed(execution) => outcome(execution),
            Verified::Rejected { position, right_token, trace_root } => {
                Outcome::Reject { position, right_token, trace_root }
            }
        })
    }
}

fn outcome(execution: Execution) -> Outcome {
    let answer = Answer { tokens: execution.tokens, finish: execution.finish };
    let trace_root = execution.trace_root;
    match execution.failure {
        Some(Failure { code, position }) => Outcome::Fail { code, position, answer, trace_root },
        None => Outcome::Answer { answer, trace_root },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_engine::Settings;
    use assay_engine::synthetic::Synthetic;
    use assay_manifest::ArtifactKind;

    /// A store with a model that can be run.
    fn store(dir: &std::path::Path) -> (Arc<Store>, ModelId) {
        store_of(dir, &Synthetic::default())
    }

    fn store_of(dir: &std::path::Path, model: &Synthetic) -> (Arc<Store>, ModelId) {
        let path = dir.join("synthetic.gguf");
        std::fs::write(&path, model.gguf().unwrap()).unwrap();
        let store = Store::open(&dir.join("store")).unwrap();
        let manifest = store.import(&path, ArtifactKind::Model, &mut |_| {}).unwrap();
        (Arc::new(store), manifest.model_id().unwrap())
    }

    fn models(store: Arc<Store>) -> Models {
        Models::new(Engine::new(Settings::for_this_machine()).unwrap(), store)
    }

    #[test]
    fn a_model_is_loaded_under_the_spec_that_its_engine_follows_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (store, model) = store(dir.path());
        let models = models(store);
        let spec = models.spec(&model).unwrap();
        let other = models.load(&model, &SpecId::ZERO, Vec::new());
        assert!(matches!(other, Err(LoadError::OtherSpec { spec: found, .. }) if found == spec), "{other:?}");
        assert!(models.get(&model).is_none());
        models.load(&model, &spec, Vec::new()).unwrap();
        assert_eq!(models.get(&model).unwrap().spec_id(), spec);
    }

    #[test]
    fn a_model_of_the_tolerance_class_is_neither_offered_nor_loaded_nor_run() {
        let dir = tempfile::tempdir().unwrap();
        let (_, phi2) = Synthetic::tolerance_variants().swap_remove(0);
        let (store, model) = store_of(dir.path(), &phi2);
        let models = models(store);
        let offered = models.spec(&model).unwrap_err().to_string();
        assert!(offered.contains("no engine computes models of this kind exactly"), "{offered}");
        let loaded = models.load(&model, &SpecId::ZERO, Vec::new()).unwrap_err().to_string();
        assert!(loaded.contains("tolerance class"), "{loaded}");
        assert!(!models.holds(&model) && models.served().is_empty());
    }

    #[test]
    fn ids_are_computed_from_the_files_and_not_taken_from_their_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let (store, model) = store(dir.path());
        let artifact = store.find(&model.digest()).unwrap()[0].artifact_id;
        let honest = store.get(&artifact).unwrap();
        let mut tensors = honest.tensors().to_vec();
        tensors[0].blake3 = Digest32::ZERO;
        let parts = honest.model_parts().unwrap();
        let parts = assay_manifest::PartIds {
            config_id: parts.config_id,
            tokenizer_id: parts.tokenizer_id,
            template_id: parts.template_id,
        };
        let forged = Manifest::model(honest.files().to_vec(), tensors, parts).unwrap();
        let file = open_model(&store, &forged).unwrap();
        let found = recomputed(&file, &forged).unwrap().model_id();
        assert_eq!(found, Some(model));
        assert_ne!(found, forged.model_id());
    }
}
