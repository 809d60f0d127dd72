//! What the witnesses have said so far, and what follows from it. No clock, no network, no disk: whoever asks brings the
//! answers and the time, and answers may come late, twice and in any order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evidence::note::{Checkpoint, Note, NoteError};
use evidence::witness_policy::{Standing, WitnessPolicy};

#[cfg(test)]
mod tests;

/// How long after the quorum is met the witnesses still missing are waited for: a set is better with all of them.
pub const STRAGGLERS_WAIT_MAX: Duration = Duration::from_millis(300);
/// How long a cosignature says what time it is: later its witness may have gone, or this machine have slept.
const TIME_AGE_MAX: Duration = Duration::from_hours(1);

/// A checkpoint that witnesses are asked to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Number of the question in this run, from 1.
    pub number: u64,
    /// What the checkpoint says.
    pub checkpoint: Checkpoint,
    /// The note with the log's line alone.
    pub note: Note,
}

/// What became of one question at one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Status 200 with these bytes, nothing of them verified.
    Lines(Vec<u8>),
    /// What it holds cannot be a state of this log that the question extends.
    Contradicted(Contradiction),
    /// Nothing of use, and why: it is asked again.
    Failed(String),
}

/// What a witness holds against a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Size it says it holds.
    pub size: u64,
    /// Status of its answer.
    pub status: u16,
    /// Body of its answer.
    pub body: Vec<u8>,
}

/// How far the witnesses have been compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Witnesses that have neither answered nor failed yet.
    pub waiting: usize,
    /// Witnesses that vouched for a checkpoint of this run.
    pub agreed: usize,
}

/// How the question stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is no open question.
    Nothing,
    /// The quorum is missing.
    Missing,
    /// The quorum is there; others may still answer until then.
    Stragglers(Instant),
    /// The note with every line that was verified.
    Cosigned(Note),
}

/// What taking an answer led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The witness need not be asked this question again.
    pub is_settled: bool,
    /// What people should know.
    pub news: Option<News>,
}

/// What a witness's answer changed for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It answers as it should, after it did not, or for the first time.
    Answers,
    /// It does not, and why.
    Fails(String),
    /// It contradicts this log; nothing is signed from now on.
    Contradicts(String),
}

/// A witness of the policy.
#[derive(Debug, Clone, Default)]
struct Seat {
    /// It has an address.
    asked: bool,
    /// It has answered or failed in this run.
    compared: bool,
    agreed: bool,
    /// It has answered the open question, well or not.
    heard: bool,
    /// What was last told to people.
    told: Option<News>,
    /// Its newest time, Unix seconds, and when that came.
    time: Option<(u64, Instant)>,
}

/// The open question, and every witness's part in it.
#[derive(Debug)]
pub struct Rounds {
    policy: WitnessPolicy,
    seats: Vec<Seat>,
    question: Option<Arc<Question>>,
    /// The question's note with what was verified.
    note: Option<Note>,
    is_open: bool,
    met_at: Option<Instant>,
    contradiction: Option<String>,
}

impl Rounds {
    /// Nothing asked yet. Witnesses without an address are never asked.
    pub fn new(policy: WitnessPolicy) -> Self {
        let seat = |asked| Seat { asked, ..Seat::default() };
        let seats = policy.witnesses().iter().map(|witness| seat(witness.url.is_some())).collect();
        let (question, note, met_at, contradiction) = (None, None, None, None);
        Self { policy, seats, question, note, is_open: false, met_at, contradiction }
    }

    /// The policy.
    pub fn policy(&self) -> &WitnessPolicy {
        &self.policy
    }

    /// Opens a question. While the last one is open and of the same checkpoint, the lines it has are kept.
    pub fn ask(&mut self, checkpoint: Checkpoint, note: Note) -> Arc<Question> {
        let last = self.question.as_ref();
        let number = last.map_or(1, |last| last.number.saturating_add(1));
        if !self.is_open || last.is_none_or(|last| last.checkpoint != checkpoint) {
            (self.note, self.met_at) = (Some(note.clone()), None);
        }
        for seat in &mut self.seats {
            seat.heard = false;
        }
        self.is_open = true;
        let question = Arc::new(Question { number, checkpoint, note });
        self.question = Some(Arc::clone(&question));
        question
    }

    /// Takes the answer of the witness at `place` of the policy to a question, which came at `now`.
    pub fn take(&mut self, place: usize, asked: &Question, answer: Answer, now: Instant) -> Taken {
        let result = match answer {
            Answer::Lines(lines) => self.adopt(place, asked, &lines, now),
            Answer::Contradicted(found) => {
                let name = self.policy.witnesses().get(place).map_or("", |witness| witness.name.as_str());
                let reason = sentence(name, &asked.checkpoint, &found);
                let is_first = self.contradiction.is_none();
                self.contradiction.get_or_insert_with(|| reason.clone());
                self.is_open = false;
                if let Some(seat) = self.seats.get_mut(place) {
                    (seat.compared, seat.told) = (true, Some(News::Contradicts(reason.clone())));
                }
                return Taken { is_settled: true, news: is_first.then_some(News::Contradicts(reason)) };
            }
            Answer::Failed(why) => Err(why),
        };
        let is_current = self.question.as_ref().is_some_and(|question| question.number == asked.number);
        let is_settled = result.is_ok();
        let Some(seat) = self.seats.get_mut(place) else { return Taken { is_settled, news: None } };
        seat.compared = true;
        seat.heard |= is_current;
        seat.agreed |= is_settled;
        let news = Some(result.map_or_else(News::Fails, |()| News::Answers));
        let is_news = seat.told != news;
        seat.told.clone_from(&news);
        Taken { is_settled, news: news.filter(|_| is_news) }
    }

    /// Keeps the witness's own line, once it holds for what was asked.
    fn adopt(&mut self, place: usize, asked: &Question, lines: &[u8], now: Instant) -> Result<(), String> {
        let witness = self.policy.witnesses().get(place).ok_or("it is not in the policy")?;
        let is_current =
            self.question.as_ref().is_some_and(|question| question.checkpoint == asked.checkpoint);
        let mut note = match self.note.as_ref().filter(|_| is_current) {
            Some(note) => note.clone(),
            None => asked.note.clone(),
        };
        let seconds = note
            .adopt(&witness.key, lines)
            .map_err(|error: NoteError| format!("its answer is not a cosignature that holds: {error}"))?;
        if is_current {
            self.note = Some(note);
        }
        if let Some(seat) = self.seats.get_mut(place) {
            seat.time = Some((seconds, now));
        }
        self.met_at = self.met_at.or_else(|| (is_current && self.standing().satisfied).then_some(now));
        Ok(())
    }

    /// How far the log was compared with what witnesses hold.
    pub fn comparison(&self) -> Comparison {
        let asked = || self.seats.iter().filter(|seat| seat.asked);
        Comparison {
            waiting: asked().filter(|seat| !seat.compared).count(),
            agreed: asked().filter(|seat| seat.agreed).count(),
        }
    }

    /// Why nothing may be signed in this run, once a witness has said so.
    pub fn contradiction(&self) -> Option<&str> {
        self.contradiction.as_deref()
    }

    /// How the open question stands.
    pub fn progress(&self, now: Instant) -> Progress {
        let Some(note) = self.note.as_ref().filter(|_| self.is_open) else { return Progress::Nothing };
        let Some(met_at) = self.met_at.filter(|_| self.contradiction.is_none()) else {
            return Progress::Missing;
        };
        let until = met_at + STRAGGLERS_WAIT_MAX;
        let is_complete = self.seats.iter().all(|seat| seat.heard || !seat.asked);
        if is_complete || now >= until {
            Progress::Cosigned(note.clone())
        } else {
            Progress::Stragglers(until)
        }
    }

    /// Ends the open question: its note is taken.
    pub fn close(&mut self) {
        self.is_open = false;
    }

    /// Who cosigned the checkpoint last asked about.
    pub fn standing(&self) -> Standing {
        // Every line was verified when it was adopted.
        let standing = self.note.as_ref().and_then(|note| self.policy.standing(note).ok());
        standing.unwrap_or_else(|| {
            let missing = self.policy.witnesses().iter().map(|witness| witness.name.clone()).collect();
            Standing { cosigned: Vec::new(), missing, satisfied: !self.policy.has_quorum() }
        })
    }

    /// The median of the times the witnesses signed, brought forward to `now`, Unix milliseconds; none if nobody said one
    /// lately.
    pub fn median_ms(&self, now: Instant) -> Option<u64> {
        let age = |at: Instant| now.saturating_duration_since(at);
        let ms = |(seconds, at): (u64, Instant)| {
            let elapsed = u64::try_from(age(at).as_millis()).unwrap_or(u64::MAX);
            seconds.saturating_mul(1000).saturating_add(elapsed)
        };
        let mut times: Vec<u64> = self
            .seats
            .iter()
            .filter_map(|seat| seat.time)
            .filter(|(_, at)| age(*at) <= TIME_AGE_MAX)
            .map(ms)
            .collect();
        times.sort_unstable();
        let high = *times.get(times.len() / 2)?;
        let low = if times.len().is_multiple_of(2) { *times.get(times.len() / 2 - 1)? } else { high };
        Some(low.midpoint(high))
    }
}

/// What a contradiction means, and what to do.
fn sentence(name: &str, ours: &Checkpoint, found: &Contradiction) -> String {
    let Contradiction { size, status, .. } = *found;
    let held = if size > ours.size {
        format!(
            "the witness {name} says that it holds a checkpoint of {size} entries, and the newest one here has {}: this is \
             an old copy of the log, or the witness is wrong",
            ours.size
        )
    } else {
        format!(
            "the witness {name} does not take the checkpoint of {} entries for a later state of the one of {size} it holds \
             (status {status}): two logs have one origin, or the witness is wrong",
            ours.size
        )
    };
    format!(
        "{held}. Its answer is kept in the folder `witnesses` of the data directory; see \"A witness holds another log\" \
         in OPERATING.md"
    )
}
