//! What the engines of both classes have in common.

use std::sync::Arc;

use assay_manifest::{Digest32, SpecId};
use assay_protocol::record::Class;
use assay_protocol::request::Request;

use crate::engine::{Engine, ExecuteError, Execution};
use crate::model::Model;
use crate::observer::Observer;
use crate::text::{RenderError, Text};

/// A loaded model with the engine that executes it: what answers requests, whatever the class of its results.
///
/// Verifying, inspecting and tracing are no part of it: they compare bits, which the exact engine alone can.
pub trait Generator: Send + Sync {
    /// How its results are compared.
    fn class(&self) -> Class;

    /// The name of the definitions that an execution follows.
    fn spec_id(&self) -> SpecId;

    /// Tokenizer and chat template.
    fn text(&self) -> &Text;

    /// Most positions of a sequence, prompt and answer together.
    fn context_length(&self) -> u32;

    /// Whether this machine has the memory for a request as it states itself.
    ///
    /// # Errors
    /// [`ExecuteError::Memory`] when it has not.
    fn check_memory(&self, request: &Request) -> Result<(), ExecuteError>;

    /// Executes a request.
    ///
    /// # Errors
    /// [`ExecuteError`] when this machine cannot run it; a failure that lies in request and model is an [`Execution`].
    fn execute(
        &self,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError>;

    /// The tokens of a request's prompt.
    ///
    /// # Errors
    /// [`RenderError`] when the chat template refuses the messages or exceeds its limits.
    fn prompt(&self, request: &Request) -> Result<Vec<u32>, RenderError> {
        self.text().render(&request.prompt, request.now_s)
    }
}

/// A model of the exact class.
#[derive(Clone, Debug)]
pub struct ExactGenerator {
    engine: Arc<Engine>,
    model: Arc<Model>,
}

impl ExactGenerator {
    /// A model to be executed by an engine, which others may share.
    pub const fn new(engine: Arc<Engine>, model: Arc<Model>) -> Self {
        Self { engine, model }
    }
}

impl Generator for ExactGenerator {
    fn class(&self) -> Class {
        Class::Exact
    }

    fn spec_id(&self) -> SpecId {
        self.model.spec_id()
    }

    fn text(&self) -> &Text {
        self.model.text()
    }

    fn context_length(&self) -> u32 {
        self.model.config().context_length
    }

    fn check_memory(&self, request: &Request) -> Result<(), ExecuteError> {
        self.engine.check_memory(&self.model, request)
    }

    fn execute(
        &self,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError> {
        self.engine.execute(&self.model, request, seed, observer)
    }
}
