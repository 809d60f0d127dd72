//! One TLS connection as tonic reads and writes it, with what is known of its peer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use certs::{Peer, PeerCertificate, Serial};
use evidence::enrolment::EXPORTER_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::PeerSlot;
use crate::denylist::Live;

/// Bytes until a client has begun to speak HTTP/2: its preface and the head of its first frame (RFC 9113 3.4, 4.1).
const PREFACE_BYTES: usize = 24 + 9;

/// How long a revoked peer may hold a connection that it got before the new revocation list was in use: one answer.
const REVOKED_GRACE: Duration = Duration::from_secs(5);

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

/// A connection whose handshake is done. Dropping it gives its slots back.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    preface: Option<Preface>,
    /// Ready once the connection is to end because its peer is revoked.
    cut: Option<Cut>,
    _live: Option<Live>,
    _slot: OwnedSemaphorePermit,
    _peer_slot: Option<PeerSlot>,
}

/// How long a connection may stay.
pub(super) enum Stay {
    /// As long as it likes: nobody is known there.
    Open,
    /// Until its peer is revoked.
    Live(Live),
    /// Its peer is revoked, and the handshake did not know yet: long enough for the gate to say so.
    Revoked,
}

/// When a connection ends.
struct Cut(Pin<Box<dyn Future<Output = ()> + Send>>);

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cut")
    }
}

/// The wait for the client's first frame.
#[derive(Debug)]
struct Preface {
    deadline: Pin<Box<Sleep>>,
    missing_bytes: usize,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        info: PeerInfo,
        preface_max: Duration,
        slot: OwnedSemaphorePermit,
        peer_slot: Option<PeerSlot>,
        stay: Stay,
    ) -> Self {
        let preface = Preface { deadline: Box::pin(sleep(preface_max)), missing_bytes: PREFACE_BYTES };
        let (live, cut) = match stay {
            Stay::Open => (None, None),
            Stay::Live(live) => {
                let cut = Cut(Box::pin(live.token().clone().cancelled_owned()));
                (Some(live), Some(cut))
            }
            Stay::Revoked => (None, Some(Cut(Box::pin(sleep(REVOKED_GRACE))))),
        };
        let preface = Some(preface);
        Self { stream, info, preface, cut, _live: live, _slot: slot, _peer_slot: peer_slot }
    }

    /// Fails once the peer is revoked; until then the task is woken when it is.
    fn check_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let cut = self.cut.as_mut().is_some_and(|cut| cut.0.as_mut().poll(cx).is_ready());
        if cut { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
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
        this.check_cut(cx)?;
        let Some(preface) = &mut this.preface else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        if preface.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        preface.missing_bytes = preface.missing_bytes.saturating_sub(buffer.filled().len() - before);
        if preface.missing_bytes == 0 {
            this.preface = None;
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_cut(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
