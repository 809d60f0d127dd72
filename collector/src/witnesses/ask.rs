//! One question to one witness: C2SP tlog-witness add-checkpoint, with the size it holds learnt from its refusals.

use std::sync::Arc;

use evidence::ids::Digest;
use evidence::witness::{AddCheckpoint, monitoring_path, parse_size_body};
use hyper::Method;
use rustls::ClientConfig;

use super::endpoint::Endpoint;
use super::http::{Reply, request};
use super::rounds::{Answer, Contradiction, Question};
use crate::ledger::Ledger;

/// Requests for one question at most: one that learns the size, one that is taken, one for whatever came between.
const REQUESTS_MAX: usize = 3;
/// Most characters of a refusal that are shown to people.
const REFUSAL_CHARACTERS_MAX: usize = 200;

/// A witness as this collector knows it.
pub(super) struct Witness {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Size it is thought to hold; 0 until it says otherwise.
    pub(super) known_size: u64,
}

impl Witness {
    /// Asks for a cosignature. A larger tree than ours, or another one, ends the run; everything else may be repeated.
    pub(super) async fn ask(&mut self, question: &Question, ledger: &Ledger) -> Answer {
        let size = question.checkpoint.size;
        for _ in 0..REQUESTS_MAX {
            let old_size = self.known_size.min(size);
            let proof = match proof(ledger, old_size, size).await {
                Ok(proof) => proof,
                Err(error) => return Answer::Failed(error),
            };
            let body = AddCheckpoint { old_size, proof, note: question.note.clone() }.encode();
            let reply =
                match request(&self.endpoint, self.tls.as_ref(), Method::POST, "/add-checkpoint", body).await
                {
                    Ok(reply) => reply,
                    Err(error) => return Answer::Failed(error),
                };
            let contradiction = |size| {
                let Reply { status, body, .. } = &reply;
                Answer::Contradicted(Contradiction { size, status: *status, body: body.clone() })
            };
            match reply.status {
                200 => {
                    self.known_size = size;
                    return Answer::Lines(reply.body);
                }
                409 => match parse_size_body(&reply.body) {
                    Some(held) if held > size => return contradiction(held),
                    // It holds this very size and does not take this root for it.
                    Some(held) if held == old_size && held == size && size > 0 => return contradiction(held),
                    Some(held) if held == old_size => {
                        return Answer::Failed(format!(
                            "it holds {held} entries and refuses a proof from there"
                        ));
                    }
                    Some(held) => self.known_size = held,
                    None => return Answer::Failed("it answers 409 without the size it holds".to_owned()),
                },
                // From an empty tree every tree follows: who refuses that contradicts nobody.
                422 if old_size > 0 => return contradiction(old_size),
                status => return Answer::Failed(refusal(status, &reply.body)),
            }
        }
        Answer::Failed("the size it says it holds changes with every request".to_owned())
    }

    /// The newest checkpoint it shows of this log, if it shows one: for whoever judges its refusal.
    pub(super) async fn shown(&self, origin: &str) -> Result<Reply, String> {
        request(&self.endpoint, self.tls.as_ref(), Method::GET, &monitoring_path(origin), String::new()).await
    }
}

async fn proof(ledger: &Ledger, from: u64, to: u64) -> Result<Vec<Digest>, String> {
    if from == 0 || from == to {
        return Ok(Vec::new());
    }
    let ledger = ledger.clone();
    // The tiles lie on the disk: not on a thread that others share.
    let read = tokio::task::spawn_blocking(move || ledger.consistency(from, to)).await;
    let read = read.map_err(|_| "interrupted".to_owned())?;
    read.map_err(|error| format!("the consistency proof from {from} entries: {error}"))
}

/// A refusal for people.
fn refusal(status: u16, body: &[u8]) -> String {
    let what = match status {
        403 => "it does not accept the log's signature: its operator must be given the log's key",
        404 => "it does not know this log, or is not at this URL: its operator must be given the log's key",
        _ => "it refuses",
    };
    let text = String::from_utf8_lossy(body);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let said: String = text.trim().chars().take(REFUSAL_CHARACTERS_MAX).map(plain).collect();
    format!("{what} (status {status}: {said})")
}
