//! Executing and verifying, under a constraint or without one.

use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::commitment::Finish;
use assay_protocol::record::Class;
use assay_protocol::request::Request;

use crate::constraint::Constraint;
use crate::engine::{Claimed, Engine, ExecuteError, Execution, NO_TOKEN, Usage, Verified};
use crate::model::Model;
use crate::observer::Observer;
use crate::walk::{End, Walked};

/// An engine whose answers keep to a constraint; made by [`Engine::constrained`].
pub struct Constrained<'a> {
    engine: &'a Engine,
    /// The state in which answers begin; none where they are free.
    start: Option<Arc<dyn Constraint>>,
}

impl<'a> Constrained<'a> {
    pub(crate) const fn new(engine: &'a Engine, start: Option<Arc<dyn Constraint>>) -> Self {
        Self { engine, start }
    }

    /// As [`Engine::execute`].
    ///
    /// # Errors
    /// As [`Engine::execute`]. Where the constraint allows no token, that is a failure that everybody finds.
    pub fn execute(
        &self,
        model: &Arc<Model>,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError> {
        let start = self.start.clone();
        let (walked, usage) =
            self.engine.walk(model, request, seed, Given { claimed: None, start }, observer)?;
        Ok(execution(walked, usage))
    }

    /// As [`Engine::verify`]; a token that the constraint does not allow is not the sampled one.
    ///
    /// # Errors
    /// As [`Engine::verify`].
    pub fn verify(
        &self,
        model: &Arc<Model>,
        request: &Request,
        seed: &Digest32,
        claimed: Claimed<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Verified, ExecuteError> {
        if claimed.finish == Finish::Cancelled {
            return Err(ExecuteError::Cancelled);
        }
        let given = Given { claimed: Some(claimed.tokens), start: self.start.clone() };
        let (walked, usage) = self.engine.walk(model, request, seed, given, observer)?;
        let right_token = match walked.end {
            End::Mismatch { right_token } => right_token,
            End::Failed(_) if claimed.finish == Finish::Failed && walked.answer == claimed.tokens => {
                return Ok(Verified::Failed(execution(walked, usage)));
            }
            // The claim goes on where nobody can, or names another end.
            End::Failed(_) => NO_TOKEN,
            End::Finished(finish) if finish == claimed.finish && walked.answer == claimed.tokens => {
                return Ok(Verified::Accepted(execution(walked, usage)));
            }
            End::Finished(_) => NO_TOKEN,
        };
        Ok(Verified::Rejected { position: usage.n_out, right_token, trace_root: walked.trace_root })
    }
}

/// What is known of an answer before it is computed.
pub(crate) struct Given<'a> {
    /// The tokens that somebody claims.
    pub claimed: Option<&'a [u32]>,
    /// The state of the constraint in which it begins.
    pub start: Option<Arc<dyn Constraint>>,
}

fn execution(walked: Walked, usage: Usage) -> Execution {
    let (finish, failure) = match walked.end {
        End::Finished(finish) => (finish, None),
        End::Failed(failure) => (Finish::Failed, Some(failure)),
        End::Mismatch { .. } => unreachable!("only a claim can mismatch, and is not made an execution"),
    };
    let Walked { answer: tokens, trace_root, .. } = walked;
    Execution { class: Class::Exact, tokens, finish, trace_root, usage, failure }
}
