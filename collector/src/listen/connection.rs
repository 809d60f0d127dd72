//! One TLS connection as tonic reads and writes it, with what is known of its peer.

use std::future::Future as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use certs::{Peer, PeerCertificate, Serial};
use evidence::enrolment::EXPORTER_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::frames::FrameGuard;
use super::places::Slot;
use super::{Counters, Shared, count};

/// Bytes until a client has begun to speak HTTP/2: its preface and the head of its first frame (RFC 9113 3.4, 4.1).
const PREFACE_BYTES: usize = 24 + 9;

/// Who is at the other end. tonic puts it into the extensions of every request.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// What its certificate says; `None` on a listener for anybody.
    pub certificate: Option<PeerCertificate>,
    /// Its network address.
    pub address: SocketAddr,
    /// The connection's TLS exporter (RFC 9266), which an enrolment transcript repeats.
    pub exporter: [u8; EXPORTER_BYTES],
}

impl PeerInfo {
    /// Who it is; `None` on a listener for anybody.
    pub fn peer(&self) -> Option<Peer> {
        self.certificate.as_ref().map(|certificate| certificate.peer)
    }

    /// The serial of its certificate, for the denylist.
    pub fn certificate_serial(&self) -> Option<Serial> {
        self.certificate.as_ref().map(|certificate| certificate.serial)
    }
}

/// What a connection holds until it is dropped.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) _all: OwnedSemaphorePermit,
    pub(super) _peer: Option<Slot<Peer>>,
    pub(super) _address: Slot<IpAddr>,
}

/// A connection whose handshake is done. Dropping it gives its slots back.
///
/// It ends itself with an error: when the client does not begin to speak in time, when it has lived as long as it may, and
/// when the client takes nothing of what is written.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    /// Ends the wait for the first frame, and then the connection.
    deadline: Pin<Box<Sleep>>,
    ends: Instant,
    /// Bytes that are missing until the client has begun to speak.
    missing_bytes: usize,
    frames: FrameGuard,
    counters: Arc<Counters>,
    stall_max: Duration,
    /// Runs while something waits to be written.
    stalled: Option<Pin<Box<Sleep>>>,
    _slots: Slots,
}

impl Connection {
    pub(super) fn new(stream: TlsStream<TcpStream>, info: PeerInfo, shared: &Shared, slots: Slots) -> Self {
        let limits = &shared.limits;
        Self {
            stream,
            info,
            deadline: Box::pin(sleep(limits.preface.min(limits.life))),
            ends: Instant::now() + limits.life,
            missing_bytes: PREFACE_BYTES,
            frames: FrameGuard::new(std::time::Instant::now()),
            counters: Arc::clone(&shared.counters),
            stall_max: limits.stall,
            stalled: None,
            _slots: slots,
        }
    }

    /// An error once the connection must end.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.deadline.as_mut().poll(cx).is_ready() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Counts `bytes` of the client's beginning; once it is there, the deadline is the end of the connection's life.
    fn heard(&mut self, bytes: usize) {
        if self.missing_bytes == 0 {
            return;
        }
        self.missing_bytes = self.missing_bytes.saturating_sub(bytes);
        if self.missing_bytes == 0 {
            self.deadline.as_mut().reset(self.ends);
        }
    }

    /// Passes on what a write came to, unless the client has taken nothing for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        // While a write waits, nothing may be read, so that the deadline is looked at here too.
        self.poll_deadline(cx)?;
        let stall_max = self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        if stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Who is at the other end.
    pub fn info(&self) -> &PeerInfo {
        &self.info
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_deadline(cx)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let came = buffer.filled().get(before..).unwrap_or_default();
        if !this.frames.follow(came, std::time::Instant::now()) {
            count(&this.counters.flooded);
            return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
        }
        this.heard(came.len());
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
