//! `assay run`: a model on this machine, without any network.

mod stream;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use assay_engine::{ExecuteError, Execution, Generator};
use assay_manifest::{Digest32, ModelId};
use assay_protocol::commitment::Finish;
use assay_protocol::receipt::{Receipt, SelfReceipt, SelfStatement};
use assay_protocol::record::Class;
use assay_protocol::request::{REQUEST_VERSION, Request, prompt_hash};
use assay_protocol::signature::Signature;
use clap::Args;
use rand::RngCore;
use serde::Serialize;
use sp_core::Pair;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::try_join;

use self::stream::Stream;
use super::asking::{Asking, Question};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::gguf_file::GgufFile;
use super::machine::Machine;
use super::output::{Format, Output};
use crate::data_dir::write_json;
use crate::keys::{Key, Role};

/// Arguments of `assay run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE.gguf")]
    model: PathBuf,
    /// What to ask.
    #[command(flatten)]
    question: Question,
    /// How to sample, and when to stop.
    #[command(flatten)]
    asking: Asking,
    /// How this machine computes.
    #[command(flatten)]
    machine: Machine,
    /// Where the receipt goes, instead of the data directory.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answered<'a> {
    class: Class,
    text: String,
    tokens: &'a [u32],
    usage: Usage,
    /// None in the tolerance class, which has no traces.
    trace_root: Option<Digest32>,
    finish: Finish,
    receipt: &'a Path,
    model_id: ModelId,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
}

impl Run {
    /// Loads the model, streams its answer, and writes a receipt that its owner signs.
    ///
    /// # Errors
    /// [`Failure`] when no engine runs the file, or it cannot answer this.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = signer(context)?;
        let output = context.output();
        let file = Arc::new(GgufFile::open(&self.model)?);
        let (loaded, machine) = (Arc::clone(&file), self.machine.clone());
        let model = spawn_blocking(move || loaded.generator(&machine, output)).await??;
        let request = self.request(model.as_ref())?;
        let (begin, begun) = oneshot::channel();
        let hash = async {
            // Hashing takes as much of a machine as loading. Whether a token came or none will is the same here.
            let _ = begun.await;
            spawn_blocking(move || file.model_id()).await?
        };
        let (answer, model_id) =
            try_join!(execute(Arc::clone(&model), request.clone(), output, begin), hash)?;
        let (execution, took) = answer;
        let statement = statement(model.as_ref(), model_id, request, &execution, &key);
        let path = self.receipt_path(context, &statement)?;
        write_json(&path, &sign(statement, &key))?;
        report(output, (model.as_ref(), model_id), &execution, (&path, took))
    }

    fn request(&self, model: &dyn Generator) -> Result<Request, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut request = Request {
            version: REQUEST_VERSION,
            prompt: self.asking.prompt(self.question.text()?),
            now_s: now.as_secs(),
            n_in: 0,
            prompt_hash: Digest32::ZERO,
            max_tokens: self.asking.max_tokens,
            stop: self.asking.stop.clone(),
            sampler: self.asking.sampler(),
            seed: Some(self.asking.seed.unwrap_or_else(random_seed)),
            // There is no job, and so no salt that could hide the request.
            salt_hash: Digest32::ZERO,
        };
        request.check().map_err(Failure::usage)?;
        let tokens = model.prompt(&request).map_err(|error| {
            Failure::usage(error).hint("--raw continues a prompt without the model's chat template")
        })?;
        request.prompt_hash = prompt_hash(&tokens);
        request.n_in = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let context_length = model.context_length();
        let room = context_length.saturating_sub(request.n_in);
        if room == 0 {
            let cause =
                format!("the prompt has {} tokens, and the model attends to {context_length}", request.n_in);
            return Err(Failure::usage(cause).hint("shorten the prompt"));
        }
        request.max_tokens = request.max_tokens.min(room);
        Ok(request)
    }

    fn receipt_path(&self, context: &Context, statement: &SelfStatement) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.receipt {
            return Ok(path.clone());
        }
        context.receipt_file(&format!("run-{}", statement.digest()))
    }
}

fn report(
    output: Output,
    (model, model_id): (&dyn Generator, ModelId),
    execution: &Execution,
    (receipt, took): (&Path, Duration),
) -> Result<(), Failure> {
    let Execution { class, tokens, finish, trace_root, usage, .. } = execution;
    if output.format() == Format::Text {
        let speed = f64::from(usage.n_out) / took.as_secs_f64().max(1e-9);
        let counts = format!("{} tokens in, {} out, {speed:.1} tokens/s", usage.n_in, usage.n_out);
        eprintln!("\n{counts}\nclass {}\nreceipt {}", class_text(*class), receipt.display());
        return Ok(());
    }
    let answered = Answered {
        class: *class,
        text: model.text().decode(tokens),
        tokens,
        usage: Usage { prompt_tokens: usage.n_in, completion_tokens: usage.n_out },
        trace_root: (*class == Class::Exact).then_some(*trace_root),
        finish: *finish,
        receipt,
        model_id,
    };
    Ok(output.result(&answered, |answered| answered.text.clone())?)
}

/// What a class means, in words.
const fn class_text(class: Class) -> &'static str {
    match class {
        Class::Exact => "exact: every machine computes this answer to the bit",
        Class::Tolerance => {
            "tolerance: not exact; another machine may answer otherwise, and nobody can verify it"
        }
    }
}

fn random_seed() -> Digest32 {
    let mut seed = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut seed);
    Digest32::from_bytes(seed)
}

/// The named key, or the one for receipts of this machine, which is made when it is first needed and owns nothing.
fn signer(context: &Context) -> Result<Key, Failure> {
    if context.names_key() {
        return context.key();
    }
    let seed = context.keystore()?.roles().load_or_create(&Role::Receipts)?;
    Ok(Key { name: "receipts".into(), pair: seed.sr25519() })
}

/// Executes on a thread of its own, and says how long that took; Ctrl-C ends it at the next token. `begin` is told when
/// the first one came.
async fn execute(
    model: Arc<dyn Generator>,
    request: Request,
    output: Output,
    begin: oneshot::Sender<()>,
) -> Result<(Execution, Duration), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let began = Instant::now();
    let mut running = spawn_blocking(move || {
        let seed = request.seed.unwrap_or_default();
        let mut stream = Stream::new(model.text(), output, &stopped, begin);
        let execution = model.execute(&request, &seed, &mut stream);
        stream.finish()?;
        execution.map_err(explain)
    });
    let execution = tokio::select! {
        done = &mut running => done,
        _ = tokio::signal::ctrl_c() => {
            stop.store(true, Ordering::Relaxed);
            running.await
        }
    };
    let execution = execution??;
    match execution.failure {
        Some(failure) => {
            let hint = match execution.class {
                Class::Exact => {
                    "every provider would find the same failure; change the prompt or the sampler"
                }
                Class::Tolerance => "change the prompt or the sampler",
            };
            Err(Failure::usage(format!("running the model: it fails with {failure:?}")).hint(hint))
        }
        None => Ok((execution, began.elapsed())),
    }
}

fn explain(error: ExecuteError) -> Failure {
    match error {
        ExecuteError::Stopped => {
            Failure::new(Exit::Interrupted, "interrupted before the answer was complete")
        }
        ExecuteError::Library(_) => Failure::new(Exit::Internal, error)
            .hint("this is a bug of candle or of assay; models of the exact class run without candle"),
        other => Failure::new(Exit::Internal, other),
    }
}

fn statement(
    model: &dyn Generator,
    model_id: ModelId,
    request: Request,
    execution: &Execution,
    key: &Key,
) -> SelfStatement {
    SelfStatement {
        class: execution.class,
        model_id,
        spec_id: model.spec_id(),
        seed: request.seed.unwrap_or_default(),
        request,
        tokens: execution.tokens.clone(),
        finish: execution.finish,
        trace_root: execution.trace_root,
        signer: key.account().into(),
    }
}

/// The receipt of what its signer has executed itself.
pub fn sign(statement: SelfStatement, key: &Key) -> Receipt {
    let signature = Signature(key.pair.sign(statement.digest().as_bytes()).0);
    Receipt::Own(Box::new(SelfReceipt { statement, signature }))
}
