//! One device's Submit stream under load: a window of envelopes kept in flight, each answer timed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use evidence::ids::{Digest, InstanceId};
use evidence::leaf::SALT_BYTES;
use evidence::time::Timestamp;
use proto::from_agent::Item as Out;
use proto::to_agent::Item as In;
use proto::{FromAgent, Hello, Stored, ToAgent};
use rpc::connect::{Address, connect};
use rpc::v1::ingest_client::IngestClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::device::Device;

/// How long one answer may take before the run counts as failed.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// An answer that a statement is durable.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    /// Whose statement.
    pub instance: InstanceId,
    /// Its sequence.
    pub sequence: u64,
    /// SHA-256 of the envelope that was sent.
    pub envelope: Digest,
    /// Its index in the log.
    pub index: u64,
    /// When the collector says it was received.
    pub received: Timestamp,
    /// Salt of its commitment.
    pub salt: [u8; SALT_BYTES],
}

/// What one stream measured.
pub struct Measured {
    /// When the first envelope was handed over.
    pub begun: Instant,
    /// When the last answer had come.
    pub stored: Instant,
    /// When the stream was over: everything the collector kept in mind is proved.
    pub proved: Instant,
    /// Milliseconds from handing over to the answer, each.
    pub ack_ms: Vec<f64>,
    /// What was answered.
    pub receipts: Vec<Receipt>,
    /// Inclusion proofs received.
    pub proofs: usize,
}

impl Measured {
    /// Nothing yet, of `total` answers to come.
    fn of(total: usize) -> Self {
        let now = Instant::now();
        let (ack_ms, receipts) = (Vec::with_capacity(total), Vec::with_capacity(total));
        Self { begun: now, stored: now, proved: now, ack_ms, receipts, proofs: 0 }
    }
}

/// An open stream that was welcomed.
pub struct Stream {
    instance: InstanceId,
    sender: mpsc::Sender<FromAgent>,
    incoming: Streaming<ToAgent>,
}

impl Stream {
    /// Connects and greets; the collector must expect `next_sequence`. `window_max` bounds the windows to come.
    pub async fn open(
        agents: &Address,
        device: &Device,
        next_sequence: u64,
        window_max: usize,
    ) -> anyhow::Result<Self> {
        let connection = connect(agents, device.tls.clone()).await?;
        let (sender, queue) = mpsc::channel(window_max + 1);
        let hello = Hello {
            instance: device.instance.as_bytes().to_vec(),
            anchor_size: device.anchor.size,
            unproved: Vec::new(),
        };
        sender.send(FromAgent { item: Some(Out::Hello(hello)) }).await?;
        let mut client = IngestClient::new(connection.channel);
        let mut incoming = client.submit(ReceiverStream::new(queue)).await?.into_inner();
        match incoming.message().await?.and_then(|message| message.item) {
            Some(In::Welcome(welcome)) if welcome.next_sequence == next_sequence => {}
            other => bail!("the collector did not welcome sequence {next_sequence}: {other:?}"),
        }
        Ok(Self { instance: device.instance, sender, incoming })
    }

    /// Sends all `envelopes`, at most `window` of them unanswered, and waits for every answer and for the proofs.
    /// `progress` is told how many more were answered.
    pub async fn submit(
        mut self,
        first_sequence: u64,
        envelopes: Vec<Vec<u8>>,
        window: usize,
        progress: impl Fn(u64),
    ) -> anyhow::Result<Measured> {
        let total = envelopes.len();
        let mut measured = Measured::of(total);
        let mut in_flight: VecDeque<(u64, Digest, Instant)> = VecDeque::with_capacity(window);
        let mut to_send = (first_sequence..).zip(envelopes);
        measured.begun = Instant::now();
        while measured.receipts.len() < total {
            while in_flight.len() < window {
                let Some((sequence, envelope)) = to_send.next() else { break };
                let digest = Digest::of(&envelope);
                // The queue holds a whole window, so this never waits.
                in_flight.push_back((sequence, digest, Instant::now()));
                self.sender.send(FromAgent { item: Some(Out::Envelope(envelope)) }).await?;
            }
            let mut message = Some(self.next().await?);
            let before = measured.receipts.len();
            while let Some(item) = message {
                self.take(item, &mut in_flight, &mut measured)?;
                // Whatever has arrived already is taken before more is sent: it goes out in one piece.
                message = tokio::select! {
                    biased;
                    more = self.incoming.message() => Some(item_of(more)?),
                    () = std::future::ready(()) => None,
                };
            }
            progress((measured.receipts.len() - before) as u64);
        }
        self.finish(measured).await
    }

    /// Sends one of `envelopes` every `period` from `first_at` on, whether or not the ones before are answered, and waits
    /// for every answer and for the proofs. `progress` is told how many more were answered.
    pub async fn offer(
        mut self,
        first_sequence: u64,
        envelopes: Vec<Vec<u8>>,
        first_at: Instant,
        period: Duration,
        progress: impl Fn(u64),
    ) -> anyhow::Result<Measured> {
        let total = envelopes.len();
        let mut measured = Measured::of(total);
        let mut in_flight: VecDeque<(u64, Digest, Instant)> = VecDeque::new();
        let mut to_send = (first_sequence..).zip(envelopes).peekable();
        let mut due = tokio::time::Instant::from_std(first_at);
        while measured.receipts.len() < total {
            tokio::select! {
                () = tokio::time::sleep_until(due), if to_send.peek().is_some() => {
                    let Some((sequence, envelope)) = to_send.next() else { continue };
                    in_flight.push_back((sequence, Digest::of(&envelope), Instant::now()));
                    let item = FromAgent { item: Some(Out::Envelope(envelope)) };
                    self.sender.try_send(item).context("more are in flight than were allowed for")?;
                    due += period;
                }
                more = self.incoming.message() => {
                    let before = measured.receipts.len();
                    self.take(item_of(more)?, &mut in_flight, &mut measured)?;
                    progress((measured.receipts.len() - before) as u64);
                }
                () = tokio::time::sleep(ANSWER_MAX) => bail!("no answer"),
            }
        }
        self.finish(measured).await
    }

    /// Waits for the proofs of everything that was answered.
    async fn finish(self, mut measured: Measured) -> anyhow::Result<Measured> {
        measured.stored = Instant::now();
        // The collector ends the stream once it has proved what it kept in mind.
        let Self { sender, mut incoming, .. } = self;
        drop(sender);
        while let Some(message) = tokio::time::timeout(ANSWER_MAX, incoming.message()).await?? {
            measured.proofs += usize::from(matches!(message.item, Some(In::Proved(_))));
        }
        measured.proved = Instant::now();
        Ok(measured)
    }

    async fn next(&mut self) -> anyhow::Result<In> {
        item_of(tokio::time::timeout(ANSWER_MAX, self.incoming.message()).await.context("no answer")?)
    }

    fn take(
        &self,
        item: In,
        in_flight: &mut VecDeque<(u64, Digest, Instant)>,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        match item {
            In::Stored(Stored { sequence, index, received_ms, salt }) => {
                let (expected, envelope, sent) = in_flight.pop_front().context("an answer too many")?;
                anyhow::ensure!(sequence == expected, "{sequence} was answered, {expected} was due");
                measured.ack_ms.push(sent.elapsed().as_secs_f64() * 1e3);
                let salt = salt.as_slice().try_into().context("a salt of 32 bytes")?;
                let received = Timestamp(received_ms);
                let instance = self.instance;
                measured.receipts.push(Receipt { instance, sequence, envelope, index, received, salt });
            }
            In::Proved(_) => measured.proofs += 1,
            In::Checkpoint(_) | In::Config(_) | In::Posture(_) | In::Renew(_) => {}
            // A run with refusals or pauses measures something else.
            other => bail!("the collector answered {other:?}"),
        }
        Ok(())
    }
}

fn item_of(message: Result<Option<ToAgent>, tonic::Status>) -> anyhow::Result<In> {
    message?.and_then(|message| message.item).context("the collector ended the stream")
}
