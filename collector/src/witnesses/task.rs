//! One task for each witness: it asks every question until it is settled, each at its own pace.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evidence::time::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ask::Witness;
use super::desk::Desk;
use super::kept;
use super::rounds::{Answer, News, Question, Taken};
use super::settings::Settings;
use crate::ledger::Ledger;
use crate::sequencer::Sequencer;

/// Time between two tries at a witness that does not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// What the tasks need from outside.
pub struct Surroundings {
    /// The log, for consistency proofs.
    pub ledger: Ledger,
    /// Where questions lie and answers go.
    pub desk: Arc<Desk>,
    /// Who looks at the desk.
    pub sequencer: Sequencer,
    /// Folder for answers that contradict the log; made when there is one.
    pub kept: PathBuf,
    /// The time, for their names.
    pub clock: Arc<dyn Clock>,
}

/// Asks one witness.
struct Asker {
    place: usize,
    name: String,
    vkey: String,
    witness: Witness,
    around: Arc<Surroundings>,
}

/// Begins to ask. Must be called inside a tokio runtime; ends at `cancel`.
pub fn start(settings: &Settings, around: Surroundings, tasks: &TaskTracker, cancel: &CancellationToken) {
    let around = Arc::new(around);
    for (place, endpoint) in settings.endpoints.iter().enumerate() {
        let listed = settings.policy.witnesses().get(place);
        let (Some(listed), Some(endpoint)) = (listed, endpoint) else { continue };
        let witness = Witness { endpoint: endpoint.clone(), tls: settings.tls.clone(), known_size: 0 };
        let (name, vkey) = (listed.name.clone(), listed.key.vkey());
        let asker = Asker { place, name, vkey, witness, around: Arc::clone(&around) };
        let cancel = cancel.clone();
        tasks.spawn(async move {
            cancel.run_until_cancelled(asker.run()).await;
        });
    }
}

impl Asker {
    async fn run(mut self) {
        let mut questions = self.around.desk.questions();
        let mut settled = 0;
        loop {
            let newest = questions.borrow_and_update().clone();
            let Some(question) = newest.filter(|question| question.number > settled) else {
                if questions.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let answer = self.witness.ask(&question, &self.around.ledger).await;
            let Taken { is_settled, news } = self.around.desk.take(self.place, &question, answer.clone());
            self.around.sequencer.look();
            self.tell(news);
            if let Answer::Contradicted(_) = &answer {
                self.keep(&question, &answer).await;
                return;
            }
            if is_settled {
                settled = question.number;
            } else {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    fn tell(&self, news: Option<News>) {
        let (witness, url) = (&self.name, self.witness.endpoint.to_string());
        match news {
            None => {}
            Some(News::Answers) => tracing::info!(witness, url, "A witness cosigns."),
            Some(News::Fails(reason)) => {
                tracing::warn!(witness, url, reason, "A witness does not cosign; it is asked again.");
            }
            Some(News::Contradicts(reason)) => {
                tracing::error!(witness, url, reason, "A witness holds another log.");
            }
        }
    }

    /// Keeps its answer, and what it shows of the log to anybody.
    async fn keep(&self, question: &Question, answer: &Answer) {
        let shown = self.witness.shown(&question.checkpoint.origin).await;
        let answered = kept::Answered {
            witness: &self.name,
            vkey: &self.vkey,
            url: self.witness.endpoint.to_string(),
            question,
            answer,
            shown,
        };
        let now = self.around.clock.now();
        match kept::write(&self.around.kept, now, &answered) {
            Ok(path) => tracing::error!(file = %path.display(), "The answer of the witness was kept."),
            Err(error) => tracing::error!(error = %error, "The answer of the witness could not be kept."),
        }
    }
}
