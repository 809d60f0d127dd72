//! `status`: who this device is, what waits, how the exchange with the collector goes, and how the collector last said
//! that the machine stands. Reads only, needs no root and no network.

use evidence::json::{self, Value};
use evidence::time::{DAY_MS, Timestamp};

use crate::anchor::AnchorFile;
use crate::disk::Folder;
use crate::health::Health;
use crate::identity::{ANCHOR_FILE, Identity};
use crate::judgement::Judgement;
use crate::spool::{Contents, Spool, SpoolError};
use crate::state::{OPEN_MODE, StateDirectory};
use crate::wrap::wrap;

/// Columns before the words of a line.
const INDENT: usize = 13;
/// So many days before a certificate ends it needs a person: the agent has tried to renew it for many days.
const CERTIFICATE_WARNING_DAYS: u64 = 7;

/// Everything `status` shows.
#[derive(Debug)]
pub struct Status {
    now: Timestamp,
    certificate_ends: Option<Timestamp>,
    /// Whether the device may still get a certificate by its attestation key.
    comes_back: bool,
    identity: Identity,
    contents: Contents,
    anchor_size: Option<u64>,
    health: Health,
    judgement: Option<Judgement>,
    running: bool,
}

impl Status {
    /// Reads it from the state directory, as of `now`.
    pub fn read(state: &StateDirectory, identity: Identity, now: Timestamp) -> Result<Self, SpoolError> {
        let contents = Spool::inspect(&Folder::new(state.spool(), OPEN_MODE), &identity.owner)?;
        let anchor = AnchorFile::new(state.file(ANCHOR_FILE)).read(&identity.log);
        let anchor_size = anchor.ok().flatten().and_then(Result::ok).map(|anchor| anchor.size());
        let running = state.is_locked();
        let (health, certificate_ends) = (Health::read(state), identity.certificate_ends());
        let judgement = Judgement::read(state);
        let comes_back = identity.life().is_some_and(|life| now < life.recovery_ends());
        Ok(Self {
            now,
            certificate_ends,
            comes_back,
            identity,
            contents,
            anchor_size,
            health,
            judgement,
            running,
        })
    }

    fn certificate_ends_soon(&self) -> bool {
        let warned = self.now.ms().saturating_add(CERTIFICATE_WARNING_DAYS * DAY_MS);
        self.certificate_ends.is_some_and(|ends| ends.ms() < warned)
    }

    /// Whether something needs a person: a refusal, a failing exchange, lost statements, a certificate that ends, or a
    /// control that fails.
    pub fn needs_attention(&self) -> bool {
        self.health.refused.is_some()
            || self.health.error.is_some()
            || !self.contents.lost.is_empty()
            || self.certificate_ends_soon()
            || self.judgement.as_ref().is_some_and(Judgement::fails)
    }

    fn waiting(&self) -> usize {
        self.contents.kept.values().filter(|kept| kept.receipt.is_none()).count()
    }

    fn stored(&self) -> usize {
        self.contents.kept.len().saturating_sub(self.waiting())
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let number = |count: usize| json::count(count as u64);
        let optional = |value: Option<Value>| Value::Array(value.into_iter().collect());
        let stored = &self.identity.stored;
        let refused = self.health.refused.as_ref().map(|refused| {
            json::object([
                ("sequence", json::count(refused.sequence)),
                ("reason", json::text(&refused.reason)),
                ("detail", json::text(&refused.detail)),
                ("at", json::time(Timestamp(refused.at_ms))),
            ])
        });
        let members = [
            ("device", json::text(&stored.device)),
            ("instance", json::text(&stored.instance)),
            ("trust_domain", json::text(&stored.trust_domain)),
            ("origin", json::text(&stored.origin)),
            ("agents_address", json::text(&stored.agents_address)),
            ("certificate_ends", optional(self.certificate_ends.map(json::time))),
            ("running", json::count(self.running.into())),
            ("next_sequence", json::count(self.contents.next)),
            ("waiting", number(self.waiting())),
            ("stored", number(self.stored())),
            ("lost", number(self.contents.lost.len())),
            ("not_made", json::count(self.contents.not_made.map_or(0, |not_made| not_made.count))),
            ("spool_bytes", json::count(self.contents.bytes)),
            ("anchor_size", json::count(self.anchor_size.unwrap_or(0))),
            ("answered", optional(self.health.answered_ms.map(|ms| json::time(Timestamp(ms))))),
            ("renewal", optional(self.health.renewal.as_ref().map(json::text))),
            ("error", optional(self.health.error.as_ref().map(json::text))),
            ("refused", optional(refused)),
        ];
        let judged = Judgement::members(self.judgement.as_ref(), self.now);
        Value::Object(
            members.into_iter().chain(judged).map(|(name, value)| (name.to_owned(), value)).collect(),
        )
    }

    /// For people.
    pub fn words(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, text: String| wrap(&format!("{name:<12} "), INDENT, &text, &mut out);
        let stored = &self.identity.stored;
        line("device", stored.device.clone());
        line("log", format!("{}, enrolled as entry {}", stored.origin, stored.enrolment_index));
        line("collector", stored.agents_address.clone());
        if let Some(ends) = self.certificate_ends {
            let ended = ends <= self.now;
            let advice = match (ended, self.certificate_ends_soon()) {
                (true, _) if self.comes_back => ": the agent asks for a new one by itself",
                (true, _) => ": enrol anew, with a new token and a new state directory",
                (false, true) => ", and could not be renewed yet",
                (false, false) => "",
            };
            let holds = if ended { "ended at" } else { "good until" };
            line("certificate", format!("{holds} {}{advice}", ends.rfc3339()));
        }
        if let Some(why) = &self.health.renewal {
            line("renewal", why.clone());
        }
        line("agent", if self.running { "running" } else { "not running" }.into());
        let answered = self.health.answered_ms.map(|ms| Timestamp(ms).rfc3339());
        line("last answer", answered.unwrap_or_else(|| "never".into()));
        let verified = self.anchor_size.map(|size| format!("the log's first {size} entries"));
        line("verified", verified.unwrap_or_else(|| "nothing since enrolment".into()));
        line(
            "statements",
            format!(
                "{} made, {} waiting to be sent, {} stored and not yet proved",
                self.contents.next,
                self.waiting(),
                self.stored()
            ),
        );
        if !self.contents.lost.is_empty() {
            line("lost", format!("{} statements, by damage of the disk", self.contents.lost.len()));
        }
        if let Some(not_made) = self.contents.not_made {
            line("not made", format!("{} statements, for lack of room", not_made.count));
        }
        if let Some(error) = &self.health.error {
            line("problem", error.clone());
        }
        if let Some(refused) = &self.health.refused {
            let at = Timestamp(refused.at_ms).rfc3339();
            line(
                "refused",
                format!("statement {} at {at}: {} {}", refused.sequence, refused.reason, refused.detail),
            );
        }
        out.push_str(&Judgement::words(self.judgement.as_ref(), self.now));
        out
    }
}
