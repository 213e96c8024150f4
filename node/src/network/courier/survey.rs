//! One look at the ledger: what is lacked here, and which jobs are closed.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::JobId;
use assay_protocol::job::Job;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::Purpose;

use super::service::Home;
use super::wants::{Want, holders, needed};
use crate::network::ports::{JobLedger, LedgerFailure, PostOffice, Slip};
use crate::worker::MailboxError;

/// A look failed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerFailure),
    /// The journal could not be read.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// The thread that read it has ended.
    #[error("reading the journal: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Runs what blocks where it may.
pub async fn blocking<P: PostOffice, T: Send + 'static>(
    post: &P,
    work: impl FnOnce(&P) -> Result<T, MailboxError> + Send + 'static,
) -> Result<T, SurveyError> {
    let post = post.clone();
    Ok(tokio::task::spawn_blocking(move || work(&post)).await??)
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is lacked, with who may have it.
    pub lacked: BTreeMap<Want, Vec<AccountBytes>>,
    /// The bought jobs of which it was looked whether their answer is lacked.
    pub looked_up: BTreeSet<JobId>,
    /// Jobs that have left the ledger.
    pub closed: Vec<JobId>,
    /// Jobs whose answer is here.
    pub answered: Vec<JobId>,
    /// Jobs whose answer may be handed over.
    pub paid: Vec<JobId>,
}

/// Looks at everything that concerns this node. Of `bought`, the jobs whose requesters come here for the answer, and
/// `sent`, the jobs of which something waits, only some are given at a time.
pub async fn survey<L: JobLedger, P: PostOffice>(
    ledger: &L,
    post: &P,
    home: &Home,
    bought: Vec<JobId>,
    sent: Vec<JobId>,
) -> Result<Survey, SurveyError> {
    let mut survey = Survey::default();
    if !home.hosted.is_empty() {
        for job in ledger.at_hand(home.hosted.clone()).await? {
            let wants = needed(&job, &home.hosted);
            survey.add(post, &job, wants).await?;
        }
    }
    if let Some(judge) = home.judge {
        for job in ledger.contested().await? {
            let want = Want { job: job.id, purpose: Purpose::Work, recipient: judge };
            survey.add(post, &job, vec![want]).await?;
        }
    }
    survey.looked_up = bought.iter().copied().collect();
    for id in bought {
        match ledger.job(id).await? {
            None => survey.closed.push(id),
            Some(job) if job.phase.is_settled() => {
                let want = Want { job: id, purpose: Purpose::Answer, recipient: job.requester };
                if !survey.add(post, &job, vec![want]).await? {
                    survey.answered.push(id);
                }
            }
            Some(_) => {}
        }
    }
    for id in sent {
        match ledger.job(id).await? {
            None => survey.closed.push(id),
            Some(job) if job.phase.is_settled() => survey.paid.push(id),
            Some(_) => {}
        }
    }
    Ok(survey)
}

impl Survey {
    /// Whether it would have found that this is lacked: everything of this node's own, and some of what was bought here.
    pub fn looked_at(&self, want: &Want) -> bool {
        want.purpose != Purpose::Answer || self.looked_up.contains(&want.job)
    }

    /// Notes those of `wants` that are not here; says whether there are any.
    async fn add<P: PostOffice>(
        &mut self,
        post: &P,
        job: &Job,
        wants: Vec<Want>,
    ) -> Result<bool, SurveyError> {
        if wants.is_empty() {
            return Ok(false);
        }
        let id = job.id;
        let held: BTreeSet<Slip> =
            blocking(post, move |post| post.slips_of(&id)).await?.into_iter().collect();
        let mut lacks = false;
        for want in wants.into_iter().filter(|want| !is_there(job, want, &held)) {
            lacks = true;
            self.lacked.insert(want, holders(job, &want));
        }
        Ok(lacks)
    }
}

/// Whether what is wanted lies here, from whom it should be. A copy that an executor sealed to itself is nothing that
/// was handed over, and one of an executor of an earlier round is of another answer.
fn is_there(job: &Job, want: &Want, held: &BTreeSet<Slip>) -> bool {
    let executor = job.answerer().map(|seat| seat.provider);
    held.iter().filter(|slip| (slip.purpose, slip.recipient) == (want.purpose, want.recipient)).any(|slip| {
        match want.purpose {
            Purpose::Input => true,
            Purpose::Answer => Some(slip.sender) == executor,
            Purpose::Work => {
                slip.sender != slip.recipient && (job.is_contested() || Some(slip.sender) == executor)
            }
        }
    })
}
