//! One place that starts tasks, notices when one ends, and stops them all.

use std::error::Error;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

/// A task that the node cannot be without has ended.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// With an error.
    #[error("{task} stopped: {source}")]
    Failed {
        /// The task.
        task: &'static str,
        /// Its error.
        source: Cause,
    },
    /// By a panic.
    #[error("a task of the node panicked: {0}")]
    Panicked(String),
    /// Some tasks did not end when they were told to.
    #[error("stopping the node: {0} tasks did not end in time")]
    Stuck(usize),
}

/// Why a task ended.
pub type Cause = Box<dyn Error + Send + Sync>;

type Ended = (&'static str, Result<(), Cause>);

/// Resolves when tasks are to end, or nobody is left who could tell them.
pub async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // Without its sender a stop signal is as good as given.
    drop(stop.wait_for(|stopped| *stopped).await);
}

/// The running tasks. Every one of them is essential: the end of one is the end of all.
pub struct Supervisor {
    tasks: JoinSet<Ended>,
    stop: watch::Sender<bool>,
}

/// How long tasks may take to end after they were told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

impl Supervisor {
    /// No tasks yet.
    pub fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: watch::channel(false).0 }
    }

    /// Turns true when tasks are to end.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Starts a task; it ends by itself when [`Self::stopping`] turns true.
    pub fn spawn<E: Into<Cause>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Waits until a task ends, which none should.
    pub async fn first_end(&mut self) -> TaskError {
        match self.tasks.join_next().await {
            Some(Ok((task, result))) => {
                let source = result.err().unwrap_or_else(|| "it ended without being told to".into());
                error!(task, cause = %source, "an essential task has ended");
                TaskError::Failed { task, source }
            }
            Some(Err(panic)) => TaskError::Panicked(panic.to_string()),
            None => std::future::pending().await,
        }
    }

    /// Tells every task to end and waits for them.
    ///
    /// # Errors
    /// The first task that failed, or how many did not end in time.
    pub async fn stop(mut self) -> Result<(), TaskError> {
        self.stop.send_replace(true);
        let mut failure = None;
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((task, Err(source))) => {
                        failure = failure.take().or(Some(TaskError::Failed { task, source }))
                    }
                    Err(panic) => failure = failure.take().or(Some(TaskError::Panicked(panic.to_string()))),
                }
            }
        };
        let in_time = tokio::time::timeout(STOP_TIMEOUT, all).await.is_ok();
        info!(in_time, "tasks have ended");
        match failure {
            Some(failure) => Err(failure),
            None if in_time => Ok(()),
            None => Err(TaskError::Stuck(self.tasks.len())),
        }
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_task_is_noticed_with_its_cause() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("sound", {
            let mut stop = supervisor.stopping();
            async move { stop.wait_for(|stopped| *stopped).await.map(|_| ()) }
        });
        supervisor.spawn("broken", async { Err::<(), _>("the disk is full") });
        let ended = supervisor.first_end().await;
        assert_eq!(ended.to_string(), "broken stopped: the disk is full");
        supervisor.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_not_waited_for_for_ever() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("deaf", std::future::pending::<Result<(), String>>());
        assert!(matches!(supervisor.stop().await, Err(TaskError::Stuck(1))));
    }
}
