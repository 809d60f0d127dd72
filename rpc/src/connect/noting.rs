//! A stream that remembers why it broke. A server that refuses a client's certificate says so in a TLS alert after the
//! handshake; HTTP/2 may drop it before any call could hear of it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room for what is read of a stream that broke: nobody uses it.
const LAST_WORDS_BYTES: usize = 4 << 10;
/// Reads of a stream that broke: an alert comes within the first.
const LAST_READS_MAX: usize = 4;

/// Why a stream broke, once it has.
pub(super) type Why = Arc<OnceLock<String>>;

/// A stream with a memory.
pub(super) struct Noting<S> {
    inner: S,
    why: Why,
}

impl<S> Noting<S> {
    pub(super) fn new(inner: S) -> (Self, Why) {
        let why = Why::default();
        (Self { inner, why: Arc::clone(&why) }, why)
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.why.get_or_init(|| error.to_string());
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> Noting<S> {
    /// A write that fails finds the other side gone; what it said before it went may still lie unread, and is waited for:
    /// a broken socket is always readable in the end.
    fn last_words<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = polled else { return polled };
        let mut room = [0; LAST_WORDS_BYTES];
        for _ in 0..LAST_READS_MAX {
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(said)) => return self.note(Poll::Ready(Err(said))),
            }
        }
        self.note(Poll::Ready(Err(error)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.note(polled)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Noting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.last_words(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.last_words(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.last_words(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
