//! Loaded models: read from the store, run here or in processes of their own, named by the ledger's ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use assay_engine::{Engine, LoadOptions, Model, Settings};
use assay_manifest::{ArtifactId, Digest32, Manifest, ModelId, SpecId};
use assay_protocol::request::Request;
use assay_runtime::AccountId;
use assay_store::{IdKind, PinReason, Store, StoreError};
use tracing::warn;

use super::model_file::{open_model, spec_of_file};
use crate::model_process::{
    Call, CallError, Confinement, Hosted, ModelProcess, Plan, ProcessConfig, Question, Reply, Start,
};
use crate::rpc::{self, Ask, Executed, PortError, Prepared};
use crate::serving::{LoadError, Shelf};
use crate::worker::{Answer, Compute, ComputeError, Outcome, Served};

/// How long what takes a moment may take when the machine is busy.
const MOMENT: Duration = Duration::from_secs(60);

/// The models that this node can run.
pub struct Models {
    workplace: Workplace,
    store: Arc<Store>,
    loaded: RwLock<BTreeMap<ModelId, Loaded>>,
    /// What is not to be waited for.
    given_up: Mutex<BTreeSet<ModelId>>,
}

/// Where models are run.
pub enum Workplace {
    /// In this process, by one engine.
    Here(Arc<Engine>),
    /// Each in a process of its own.
    Processes {
        /// How they are started.
        config: ProcessConfig,
        /// How each of them works.
        settings: Settings,
        /// How they are confined, as was found out before.
        confinement: Confinement,
    },
}

#[derive(Clone)]
struct Loaded {
    runner: Arc<Runner>,
    spec_id: SpecId,
    artifact_id: ArtifactId,
    identities: Vec<AccountId>,
}

/// What runs one model.
enum Runner {
    Here(Hosted),
    Process(ModelProcess),
}

impl Runner {
    /// Ends its process, also while that computes.
    fn stop(&self) {
        match self {
            Self::Here(_) => {}
            Self::Process(process) => process.stop(),
        }
    }

    fn serves(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Process(process) => process.serves(),
        }
    }

    fn call(&self, make: &dyn Fn() -> Call, deadline: Option<Instant>) -> Result<Reply, CallError> {
        match self {
            Self::Here(hosted) => hosted.answer(&make(), &mut ()).map_err(CallError::Refused),
            Self::Process(process) => process.call_again(make, deadline),
        }
    }
}

impl Models {
    /// No models yet; they will come from `store` and run in this process, on `engine`.
    pub fn new(engine: Engine, store: Arc<Store>) -> Self {
        Self::at(Workplace::Here(Arc::new(engine)), store)
    }

    /// No models yet; they will come from `store` and run at `workplace`.
    pub fn at(workplace: Workplace, store: Arc<Store>) -> Self {
        Self { workplace, store, loaded: RwLock::default(), given_up: Mutex::default() }
    }

    /// Lets every model go, and ends their processes, whatever they compute.
    pub fn close(&self) {
        self.read().values().for_each(|loaded| loaded.runner.stop());
        self.keep_only(&[]);
    }

    /// Tokens as text.
    ///
    /// # Errors
    /// [`PortError::Refused`] when the model is not loaded, [`PortError::Full`] when it has too much to do.
    pub fn decode(&self, model: &ModelId, tokens: &[u32]) -> Result<String, PortError> {
        let attempt = "decoding an answer";
        match self.ask(model, &|| Call::Decode(tokens.to_vec()), in_a_moment()) {
            Ok((_, Reply::Text(text))) => Ok(text),
            Ok(_) => Err(port_error(attempt, RunError::OtherReply)),
            Err(error) => Err(port_error(attempt, error)),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ModelId, Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<ModelId, Loaded>> {
        self.loaded.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn given_up(&self) -> MutexGuard<'_, BTreeSet<ModelId>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A loaded model that answers.
    fn get(&self, id: &ModelId) -> Option<Loaded> {
        self.read().get(id).filter(|loaded| loaded.runner.serves()).cloned()
    }

    /// Has a loaded model compute something, once more if its process ends before it answers.
    fn ask(
        &self,
        id: &ModelId,
        make: &dyn Fn() -> Call,
        deadline: Option<Instant>,
    ) -> Result<(Loaded, Reply), RunError> {
        let loaded = self.get(id).ok_or(RunError::NotLoaded(*id))?;
        let reply = loaded.runner.call(make, deadline)?;
        Ok((loaded, reply))
    }

    /// Has a loaded model execute or verify, which takes as long as it takes.
    fn run(
        &self,
        id: &ModelId,
        make: &dyn Fn() -> Call,
        tokens_max: u32,
    ) -> Result<(Loaded, Outcome), RunError> {
        let (loaded, Reply::Outcome(outcome)) = self.ask(id, make, None)? else {
            return Err(RunError::OtherReply);
        };
        let tokens = match &outcome {
            Outcome::Answer { answer, .. } | Outcome::Fail { answer, .. } => answer.tokens.len(),
            Outcome::Reject { .. } => 0,
        };
        if u32::try_from(tokens).is_ok_and(|tokens| tokens <= tokens_max) {
            Ok((loaded, outcome))
        } else {
            Err(RunError::OtherReply)
        }
    }

    /// The artifact in the store that holds a model, and what it holds.
    fn manifest(&self, id: &ModelId) -> Result<(ArtifactId, Manifest), LoadError> {
        let unusable = |error: StoreError| LoadError::Unusable { model: *id, cause: error.to_string() };
        let found = self.store.find(&id.digest()).map_err(unusable)?;
        let found = found.into_iter().find(|found| found.kind == IdKind::Model);
        let artifact_id = found.ok_or(LoadError::NotHere(*id))?.artifact_id;
        Ok((artifact_id, self.store.get(&artifact_id).map_err(unusable)?))
    }

    /// Lets the store remove the models that nobody wants here any more, but the user.
    fn unpin_others(&self, wanted: &[ModelId]) -> Result<(), StoreError> {
        let mut kept = Vec::new();
        for model in wanted {
            kept.extend(self.store.find(&model.digest())?.into_iter().map(|found| found.artifact_id));
        }
        for (artifact, reason) in self.store.pins()? {
            if reason != PinReason::User && !kept.contains(&artifact) {
                self.store.unpin(&artifact, reason)?;
            }
        }
        Ok(())
    }

    /// Has the model's one GGUF file read, its ids computed anew, and its weights packed.
    fn open(&self, id: &ModelId) -> Result<Loaded, LoadError> {
        let unusable = |cause: String| LoadError::Unusable { model: *id, cause };
        let (artifact_id, manifest) = self.manifest(id)?;
        let _lease = self.store.lease(&manifest);
        let file = open_model(&self.store, &manifest).map_err(unusable)?;
        let (runner, found, spec_id) = match &self.workplace {
            Workplace::Here(engine) => {
                let found = file.recomputed(&manifest, &mut || ()).map_err(unusable)?.model_id();
                let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| {});
                let hosted =
                    Hosted::new(Arc::clone(engine), model.map_err(|error| unusable(error.to_string()))?);
                let spec_id = hosted.spec_id();
                (Runner::Here(hosted), found, spec_id)
            }
            Workplace::Processes { config, settings, .. } => {
                let start = Start::new(settings, manifest.to_bytes());
                let plan = Plan { config: config.clone(), model: *id, file: file.into_file(), start };
                let process = ModelProcess::load(plan).map_err(|error| unusable(error.to_string()))?;
                let loaded = process.loaded();
                (Runner::Process(process), Some(loaded.model_id), loaded.spec_id)
            }
        };
        if found != Some(*id) {
            return Err(LoadError::OtherModel { model: *id, found: found.unwrap_or(ModelId::ZERO) });
        }
        Ok(Loaded { runner: Arc::new(runner), spec_id, artifact_id, identities: Vec::new() })
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
        let loaded = match self.get(model) {
            Some(loaded) => loaded,
            None => self.open(model)?,
        };
        if loaded.spec_id != *spec {
            return Err(LoadError::OtherSpec { model: *model, spec: loaded.spec_id });
        }
        let (artifact, is_offered) = (loaded.artifact_id, !identities.is_empty());
        let replaced = self.write().insert(*model, Loaded { identities, ..loaded });
        // A process ends with what is dropped here, and nobody waits for it under the lock.
        drop(replaced);
        let (reason, other) = match is_offered {
            true => (PinReason::Offer, PinReason::Asked),
            false => (PinReason::Asked, PinReason::Offer),
        };
        let kept = self.store.pin(&artifact, reason).and_then(|()| self.store.unpin(&artifact, other));
        // A model that cannot be pinned is served all the same: it is in memory.
        if let Err(error) = kept.and_then(|()| self.store.note_use(&artifact)) {
            warn!(%model, %error, "keeping a model in the store");
        }
        Ok(())
    }

    fn artifact(&self, model: &ModelId) -> Option<ArtifactId> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.get(model).map(|entry| entry.artifact_id)
    }

    fn give_up(&self, models: BTreeSet<ModelId>) {
        *self.given_up() = models;
    }

    fn holds(&self, model: &ModelId) -> bool {
        self.get(model).is_some()
    }

    fn keep_only(&self, models: &[ModelId]) {
        let others: Vec<_> = self.write().extract_if(.., |id, _| !models.contains(id)).collect();
        // Processes end with what is dropped here, and nobody waits for them under the lock.
        drop(others);
        if let Err(error) = self.unpin_others(models) {
            warn!(%error, "letting models go that are offered no more");
        }
    }
}

impl rpc::Models for Models {
    fn serving(&self) -> Vec<rpc::Serving> {
        let loaded = self.read();
        let serving = |(id, entry): (&ModelId, &Loaded)| rpc::Serving {
            model_id: *id,
            artifact_id: entry.artifact_id,
            identities: entry.identities.clone(),
        };
        loaded.iter().filter(|(_, entry)| entry.runner.serves()).map(serving).collect()
    }

    fn isolation(&self) -> rpc::Isolation {
        match &self.workplace {
            Workplace::Here(_) => rpc::Isolation::InProcess,
            Workplace::Processes { confinement, .. } => {
                rpc::Isolation::Process { confinement: *confinement, whole: confinement.is_whole() }
            }
        }
    }

    fn spec_of(&self, model: &ModelId) -> Result<SpecId, PortError> {
        Shelf::spec(self, model).map_err(|error| match error {
            LoadError::NotHere(_) => PortError::NotFound(error.to_string()),
            other => PortError::Refused(other.to_string()),
        })
    }

    fn prepare(&self, ask: &Ask) -> Result<Prepared, PortError> {
        let attempt = "preparing a request";
        let question = || {
            Call::Count(Question {
                prompt: ask.prompt.clone(),
                now_s: ask.now_s,
                sampler: ask.sampler.clone(),
                max_tokens: ask.max_tokens,
            })
        };
        match self.ask(&ask.model, &question, in_a_moment()) {
            Ok((loaded, Reply::Counted(counted))) => Ok(Prepared {
                model_id: ask.model,
                spec_id: loaded.spec_id,
                n_in: counted.n_in,
                prompt_hash: counted.prompt_hash,
                context_length: counted.context_length,
            }),
            Ok(_) => Err(port_error(attempt, RunError::OtherReply)),
            Err(error) => Err(port_error(attempt, error)),
        }
    }

    fn answer(&self, model: &ModelId, request: &Request) -> Result<Executed, PortError> {
        let attempt = "executing a request";
        let seed = request.seed.ok_or_else(|| PortError::Refused(format!("{attempt}: it names no seed")))?;
        let call = || Call::Execute { request: request.clone(), seed };
        let ran = self.run(model, &call, request.max_tokens);
        let (loaded, outcome) = ran.map_err(|error| match error {
            // Whoever asks has it brought, and asks again.
            RunError::NotLoaded(_) => PortError::Unavailable(format!("{attempt}: {error}")),
            error => port_error(attempt, error),
        })?;
        self.executed(model, loaded.spec_id, outcome)
    }
}

impl Models {
    /// What the owner gets of what came of its request.
    fn executed(&self, model: &ModelId, spec_id: SpecId, outcome: Outcome) -> Result<Executed, PortError> {
        match outcome {
            Outcome::Answer { answer, trace_root } => {
                let (text, finish) = (self.decode(model, &answer.tokens)?, answer.finish);
                Ok(Executed { spec_id, tokens: answer.tokens.clone(), text, finish, trace_root })
            }
            Outcome::Fail { code, position, .. } => {
                let cause = format!("executing a request: it fails with {code:?} at position {position}");
                Err(PortError::Refused(cause))
            }
            Outcome::Reject { .. } => Err(PortError::Failed(OTHER_REPLY.into())),
        }
    }
}

impl Compute for Models {
    fn served(&self) -> Vec<Served> {
        let loaded = self.read();
        let serving = loaded.iter().filter(|(_, entry)| entry.runner.serves());
        serving.map(|(id, entry)| Served { model_id: *id, spec_id: entry.spec_id }).collect()
    }

    fn is_given_up(&self, model: &ModelId) -> bool {
        self.given_up().contains(model)
    }

    fn fits(&self, model: &ModelId, request: &Request) -> Result<bool, ComputeError> {
        match self.ask(model, &|| Call::Fits(request.clone()), in_a_moment())? {
            (_, Reply::Fits(fits)) => Ok(fits),
            _ => Err(RunError::OtherReply.into()),
        }
    }

    fn execute(&self, model: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError> {
        let call = || Call::Execute { request: request.clone(), seed: *seed };
        Ok(self.run(model, &call, request.max_tokens)?.1)
    }

    fn verify(
        &self,
        model: &ModelId,
        request: &Request,
        seed: &Digest32,
        claimed: &Answer,
    ) -> Result<Outcome, ComputeError> {
        let call = || Call::Verify { request: request.clone(), seed: *seed, claimed: claimed.clone() };
        Ok(self.run(model, &call, request.max_tokens)?.1)
    }
}

/// What a process that is not what it should be has done.
const OTHER_REPLY: &str = "the model's process answered something else than was asked";

/// A model did not compute what it was asked.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{0} is not loaded here: no provider of this node offers it, and nobody has just asked for it")]
    NotLoaded(ModelId),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{OTHER_REPLY}")]
    OtherReply,
}

impl From<RunError> for ComputeError {
    fn from(error: RunError) -> Self {
        let told = error.to_string();
        match error {
            RunError::Call(CallError::Busy | CallError::Late | CallError::Away(_)) => Self::Away(told),
            // One that ended twice in one call may end so in every other.
            RunError::Call(
                CallError::Refused(_)
                | CallError::TooLong(_)
                | CallError::Died(_)
                | CallError::GivenUp(_)
                | CallError::Stopped,
            )
            | RunError::NotLoaded(_)
            | RunError::OtherReply => Self::Failed(told),
        }
    }
}

fn in_a_moment() -> Option<Instant> {
    Some(Instant::now() + MOMENT)
}

fn port_error(attempt: &str, error: RunError) -> PortError {
    let told = format!("{attempt}: {error}");
    match error {
        RunError::NotLoaded(_) | RunError::Call(CallError::Refused(_) | CallError::TooLong(_)) => {
            PortError::Refused(told)
        }
        RunError::Call(CallError::Busy | CallError::Late | CallError::Away(_)) => PortError::Full(told),
        RunError::Call(CallError::Died(_) | CallError::GivenUp(_) | CallError::Stopped)
        | RunError::OtherReply => PortError::Failed(told),
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
        assert_eq!(models.served()[0].spec_id, spec);
    }

    #[test]
    fn what_is_offered_is_pinned_until_it_is_offered_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let (store, model) = store(dir.path());
        let models = models(Arc::clone(&store));
        let spec = models.spec(&model).unwrap();
        let artifact = store.find(&model.digest()).unwrap()[0].artifact_id;
        models.load(&model, &spec, Vec::new()).unwrap();
        assert_eq!(store.pins().unwrap(), [(artifact, PinReason::Asked)].into());
        models.load(&model, &spec, vec![AccountId::new([1; 32])]).unwrap();
        assert_eq!(store.pins().unwrap(), [(artifact, PinReason::Offer)].into());
        assert!(store.evict(0).unwrap().artifacts.is_empty());
        models.keep_only(&[model]);
        assert_eq!(store.pins().unwrap().len(), 1);
        models.keep_only(&[]);
        assert!(store.pins().unwrap().is_empty());
        assert_eq!(store.evict(0).unwrap().artifacts.len(), 1);
        assert!(matches!(models.spec(&model), Err(LoadError::NotHere(_))));
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
        let found = file.recomputed(&forged, &mut || ()).unwrap().model_id();
        assert_eq!(found, Some(model));
        assert_ne!(found, forged.model_id());
    }
}
