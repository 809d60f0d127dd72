//! HTTP/2 by hand over a real TLS connection: a client that sends frames no library would let it send.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client says first (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;
/// Bytes handed to TLS at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Longest wait for one write.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// Types of frames (RFC 9113, 6).
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// RST_STREAM.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// Flags.
pub mod flag {
    /// END_STREAM.
    pub const END_STREAM: u8 = 1;
    /// END_HEADERS.
    pub const END_HEADERS: u8 = 4;
}

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block, each line a literal that is not indexed (RFC 7541, 6.2.2).
pub fn header_block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in lines {
        bytes.push(0);
        for text in [name, value] {
            // Seven bits of length without a prefix: enough for what tests say.
            bytes.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// HEADERS that begin a gRPC call on `stream`.
pub fn call(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let lines = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "127.0.0.1"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    frame(kind::HEADERS, flag::END_HEADERS, stream, &header_block(&[&lines[..], more].concat()))
}

/// The `number`th stream a client opens.
pub fn stream_id(number: u64) -> u32 {
    u32::try_from(number).expect("a stream") * 2 + 1
}

/// An open TLS connection.
pub struct Raw {
    stream: TlsStream<TcpStream>,
}

/// What became of a flood.
#[derive(Debug, Default, Clone)]
pub struct Flooded {
    /// Frames, or groups of them, that were written before the end.
    pub written: u64,
    /// GOAWAY: the last stream that was looked at, the error code, and the text.
    pub goaway: Option<(u32, u32, String)>,
    /// Frames received, by type up to 9.
    pub received: [u64; 10],
    /// The server closed the connection.
    pub closed: bool,
}

/// A TCP connection from an address of this machine: each of 127.0.0.0/8 is one.
pub async fn tcp_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

impl Raw {
    /// TCP and TLS, and nothing of HTTP/2.
    pub async fn connect(to: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<Self> {
        Self::over(TcpStream::connect(to).await?, to, tls).await
    }

    /// TLS over an open connection.
    pub async fn over(tcp: TcpStream, to: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(tls).connect(ServerName::from(to.ip()), tcp).await?;
        Ok(Self { stream })
    }

    /// The preface and these settings (identifier, value).
    pub async fn begin(&mut self, settings: &[(u16, u32)]) -> io::Result<()> {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        self.send(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &payload)].concat()).await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The TLS connection itself.
    pub fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }

    /// The next frame: type, flags, stream, payload. `None` when the server has closed.
    pub async fn next(&mut self) -> io::Result<Option<(u8, u8, u32, Vec<u8>)>> {
        read_frame(&mut self.stream).await
    }

    /// Waits until the server closes, and says how long it took; `None` when it does not within `patience`.
    pub async fn closed_within(mut self, patience: Duration) -> Option<Duration> {
        let begun = std::time::Instant::now();
        let closed = async { while matches!(self.next().await, Ok(Some(_))) {} };
        timeout(patience, closed).await.ok().map(|()| begun.elapsed())
    }

    /// Sends what `make` gives for 0, 1, … `count`, until the server has enough of it; then waits `patience` for its last words.
    pub async fn flood(
        self,
        count: u64,
        patience: Duration,
        mut make: impl FnMut(u64) -> Vec<u8>,
    ) -> Flooded {
        let (mut read, mut write) = tokio::io::split(self.stream);
        let reading = tokio::spawn(async move {
            let mut heard = Flooded::default();
            loop {
                match read_frame(&mut read).await {
                    Ok(Some((frame, _, _, payload))) => {
                        if let Some(counter) = heard.received.get_mut(usize::from(frame)) {
                            *counter += 1;
                        }
                        if frame == kind::GOAWAY && payload.len() >= 8 {
                            let number = |at: usize| {
                                u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"))
                            };
                            let text = String::from_utf8_lossy(&payload[8..]).into_owned();
                            // The first of several names the reason.
                            heard.goaway.get_or_insert((number(0), number(4), text));
                        }
                    }
                    Ok(None) | Err(_) => {
                        heard.closed = true;
                        return heard;
                    }
                }
            }
        });
        let mut written = 0;
        let mut chunk = Vec::new();
        while written < count {
            while written < count && chunk.len() < CHUNK_BYTES {
                chunk.extend(make(written));
                written += 1;
            }
            let sent = timeout(WRITE_MAX, async {
                write.write_all(&chunk).await?;
                write.flush().await
            });
            if !matches!(sent.await, Ok(Ok(()))) {
                break;
            }
            chunk.clear();
        }
        let abort = reading.abort_handle();
        match timeout(patience, reading).await {
            Ok(heard) => Flooded { written, ..heard.expect("the reader does not panic") },
            Err(_) => {
                abort.abort();
                Flooded { written, ..Flooded::default() }
            }
        }
    }
}

async fn read_frame(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
) -> io::Result<Option<(u8, u8, u32, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    match stream.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut payload).await?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    Ok(Some((head[3], head[4], id, payload)))
}
