//! What the collector last said about this machine, kept for `status`. Nothing here is evidence, and nothing the agent
//! does depends on it: a collector that lies here misleads the person, who can compare with `probe` and `sent`.

use evidence::json::{self, Value};
use evidence::time::{MINUTE_MS, Timestamp};
use serde::{Deserialize, Serialize};

use crate::schedule::INTERVAL_MINUTES_MAX;
use crate::state::{StateDirectory, StateError};
use crate::wrap::wrap;

/// The file.
pub(crate) const JUDGEMENT_FILE: &str = "judgement.json";
/// Most verdicts kept: as many as a statement has observations.
const VERDICTS_MAX: usize = 64;
/// Longest id, state or reason kept, in characters: a line or three of a terminal.
const TEXT_CHARS_MAX: usize = 256;
/// Longest remedy kept, in characters: what a person reads. The collector cuts there too.
const REMEDY_CHARS_MAX: usize = 1024;
/// A judgement older than this is called old, in minutes: a device that reaches its collector makes a statement at least
/// once in [`INTERVAL_MINUTES_MAX`], and is judged after each.
const OLD_MINUTES: u64 = 2 * INTERVAL_MINUTES_MAX;
/// Two clocks that differ by no more than this many minutes are not worth a word.
const CLOCKS_APART_MINUTES: u64 = 5;
/// Columns before the words of a verdict.
const INDENT: usize = 13;

/// One control as the collector judges it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Control id.
    pub control: String,
    /// State of docs/FORMAT.md section 9.
    pub state: String,
    /// Why.
    pub reason: String,
    /// What the person at the machine can do; may be empty.
    pub remedy: String,
    /// Minute (since 1970) by which it is to be done, if there is one.
    pub due_minutes: Option<u64>,
}

/// A posture as the collector sent it, cut to what can be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Minute in which the collector judged, by its clock.
    pub judged_minutes: u64,
    /// Minute in which this device was told, by its own clock.
    pub told_minutes: u64,
    /// Id of the policy.
    pub policy: String,
    /// The statement that was judged; none: this device had made none.
    pub sequence: Option<u64>,
    /// One per control.
    pub verdicts: Vec<Verdict>,
}

/// A peer's text on one line: no control characters, at most `chars`.
fn line(text: &str, chars: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(chars).collect()
}

impl Judgement {
    /// Takes what was said at `now`.
    pub fn of(posture: proto::Posture, now: Timestamp) -> Self {
        let verdict = |verdict: proto::Verdict| Verdict {
            control: line(&verdict.control, TEXT_CHARS_MAX),
            state: line(&verdict.state, TEXT_CHARS_MAX),
            reason: line(&verdict.reason, TEXT_CHARS_MAX),
            remedy: line(&verdict.remedy, REMEDY_CHARS_MAX),
            due_minutes: verdict.due_minutes,
        };
        Self {
            judged_minutes: posture.judged_minutes,
            told_minutes: now.minutes(),
            policy: line(&posture.policy, TEXT_CHARS_MAX),
            sequence: posture.sequence,
            verdicts: posture.verdicts.into_iter().take(VERDICTS_MAX).map(verdict).collect(),
        }
    }

    /// Reads what was kept; none if the collector never said anything. Damage costs no more than the knowledge.
    pub fn read(state: &StateDirectory) -> Option<Self> {
        state.read_json(JUDGEMENT_FILE).ok().flatten()
    }

    /// Keeps it, readable by everybody on the machine.
    pub fn write(&self, state: &StateDirectory) -> Result<(), StateError> {
        state.write_json(JUDGEMENT_FILE, self)
    }

    /// Minutes since it was judged. What a clock that was set back makes of it is told by when it was heard.
    fn age_minutes(&self, now: Timestamp) -> u64 {
        now.minutes().saturating_sub(self.judged_minutes.min(self.told_minutes))
    }

    /// Whether a newer one should have come.
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.age_minutes(now) > OLD_MINUTES
    }

    /// Whether a control is shown not to meet the policy.
    pub fn fails(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.state == FAILING)
    }

    /// Members of `status --json`.
    pub fn members(kept: Option<&Self>, now: Timestamp) -> [(&'static str, Value); 6] {
        let optional = |value: Option<Value>| Value::Array(value.into_iter().collect());
        let verdicts = kept.map(|kept| kept.verdicts.iter().map(Verdict::json).collect());
        [
            ("posture", Value::Array(verdicts.unwrap_or_default())),
            ("judged", optional(kept.map(|kept| json::time(moment(kept.judged_minutes))))),
            ("judged_age_minutes", optional(kept.map(|kept| json::count(kept.age_minutes(now))))),
            ("judged_is_old", json::count(kept.is_some_and(|kept| kept.is_old(now)).into())),
            ("judged_policy", optional(kept.map(|kept| json::text(&kept.policy)))),
            ("judged_statement", optional(kept.and_then(|kept| kept.sequence).map(json::count))),
        ]
    }

    /// The lines of `status`, for people.
    pub fn words(kept: Option<&Self>, now: Timestamp) -> String {
        let mut out = String::new();
        let Some(kept) = kept else {
            wrap(
                "judged       ",
                INDENT,
                "never: the collector has not said how this machine stands",
                &mut out,
            );
            return out;
        };
        let age = kept.age_minutes(now);
        let statement = kept.sequence.map_or_else(
            || "this machine has made no statement yet".to_owned(),
            |sequence| format!("from statement {sequence}"),
        );
        let head = format!(
            "{}, {} ago, by policy {}, {statement}",
            minute(kept.judged_minutes),
            span(age),
            kept.policy
        );
        wrap("judged       ", INDENT, &head, &mut out);
        if kept.is_old(now) {
            let old = "This is old: since then the collector has not said how this machine stands.";
            wrap("", INDENT, old, &mut out);
        }
        if kept.judged_minutes > kept.told_minutes.saturating_add(CLOCKS_APART_MINUTES) {
            let apart = span(kept.judged_minutes.saturating_sub(kept.told_minutes));
            wrap("", INDENT, &format!("This machine's clock was {apart} behind the collector's."), &mut out);
        }
        for state in ORDER {
            kept.verdicts
                .iter()
                .filter(|verdict| verdict.state == state)
                .for_each(|verdict| verdict.words(now, &mut out));
        }
        let others = kept.verdicts.iter().filter(|verdict| !ORDER.contains(&verdict.state.as_str()));
        others.for_each(|verdict| verdict.words(now, &mut out));
        out
    }
}

/// The state of a control that is shown not to be met.
const FAILING: &str = "DEVIATION";
/// What a person must know first comes first; a state not known to this release comes last.
const ORDER: [&str; 5] = [FAILING, "INDETERMINATE", "MISSING", "PASS", "NOT_APPLICABLE"];

impl Verdict {
    fn json(&self) -> Value {
        json::object([
            ("control", json::text(&self.control)),
            ("state", json::text(&self.state)),
            ("reason", json::text(&self.reason)),
            ("remedy", json::text(&self.remedy)),
            ("due", Value::Array(self.due_minutes.map(|due| json::time(moment(due))).into_iter().collect())),
        ])
    }

    fn words(&self, now: Timestamp, out: &mut String) {
        let state = match self.state.as_str() {
            FAILING => "failing",
            "INDETERMINATE" => "unknown",
            "MISSING" => "missing",
            "PASS" => "passing",
            "NOT_APPLICABLE" => "exempt",
            other => other,
        };
        let due = self.due_minutes.map_or_else(String::new, |due| {
            let (now, at) = (now.minutes(), minute(due));
            if due < now {
                format!(", was due {at}, {} ago", span(now.saturating_sub(due)))
            } else {
                format!(", due {at}, in {}", span(due.saturating_sub(now)))
            }
        });
        wrap(&format!("  {state:<10} "), INDENT, &format!("{}{due}", self.control), out);
        // Nobody needs to know why all is well.
        if self.state != "PASS" && !self.reason.is_empty() {
            wrap("", INDENT, &format!("why: {}", self.reason), out);
        }
        if !self.remedy.is_empty() {
            wrap("", INDENT, &format!("do: {}", self.remedy), out);
        }
    }
}

fn moment(minutes: u64) -> Timestamp {
    Timestamp(minutes.saturating_mul(MINUTE_MS))
}

/// A minute for people.
pub(crate) fn minute(minutes: u64) -> String {
    let text = moment(minutes).rfc3339();
    // Whole minutes are all that is said.
    text.strip_suffix(":00.000Z").map_or(text.clone(), |text| format!("{text}Z"))
}

/// A length of time in its largest unit, rounded down.
fn span(minutes: u64) -> String {
    let (count, unit) = match minutes {
        0..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
