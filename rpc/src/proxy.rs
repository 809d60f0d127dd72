//! The way through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), and then every byte is the tunnel's. TLS is agreed on with the
//! server behind it, so a proxy sees a name, a port and how much is sent, and nothing else.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connect::Address;

/// Longest wait for a proxy's answer: it resolves the name and connects before it answers.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(20);
/// Longest answer to CONNECT, bytes: a status line and headers. What a proxy explains to people beside it is not read.
const ANSWER_BYTES_MAX: usize = 8 * 1024;
/// Longest reason that is repeated in an error, characters.
const REASON_CHARACTERS_MAX: usize = 80;
/// The port of a proxy whose address names none: that of its scheme.
const HTTP_PORT: &str = "80";

/// Why a text names no proxy. It may hold a password, so no error repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Another scheme than http.
    #[error("only proxies that are spoken to by http:// are supported, not {0}://")]
    Scheme(String),
    /// No host and port.
    #[error("it is no address of a proxy, as in http://proxy.example.com:3128")]
    Address,
    /// A `%` that is not followed by two hexadecimal digits, or a control character.
    #[error("its name or password cannot be read: characters like @ and : stand as %40 and %3A")]
    Credentials,
}

/// Why a proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// No TCP connection to the proxy.
    #[error("the proxy cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The proxy does not answer.
    #[error("the proxy did not answer within {} seconds", ANSWER_SECONDS_MAX.as_secs())]
    Silent,
    /// The connection broke.
    #[error("the connection to the proxy broke")]
    Broken(#[source] io::Error),
    /// What came is no answer to CONNECT.
    #[error("the proxy's answer is not HTTP: {0}")]
    Malformed(&'static str),
    /// The proxy said no.
    #[error("{}", words_of(*.status, .reason))]
    Refused {
        /// Its status.
        status: u16,
        /// Its own words, cut and without control characters.
        reason: String,
    },
}

fn words_of(status: u16, reason: &str) -> String {
    let meaning = match status {
        407 => "the proxy asks for a name and a password, as in http://name:password@proxy:3128",
        401 | 403 => "the proxy does not allow this connection",
        // 500 is what tinyproxy says when it cannot connect.
        500 | 502..=504 => "the proxy cannot reach the server",
        _ => "the proxy opened no tunnel",
    };
    format!("{meaning} (it answered {status} {reason})").replace(" )", ")")
}

/// An HTTP proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    address: Address,
    /// The value of `Proxy-Authorization`. A secret.
    authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, {} credentials)", if self.has_password() { "with" } else { "no" })
    }
}

/// Its address, without name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                return Err(ProxyError::Scheme(scheme.to_owned()));
            }
            Some(_) => return Err(ProxyError::Address),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, host) = match rest.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, rest),
        };
        let has_port =
            host.rsplit_once(':').is_some_and(|(before, _)| !before.contains(':') || before.ends_with(']'));
        let host = if has_port { host.to_owned() } else { format!("{host}:{HTTP_PORT}") };
        let address = host.parse().map_err(|_| ProxyError::Address)?;
        let authorization = credentials.map(basic).transpose()?;
        Ok(Self { address, authorization })
    }
}

impl Proxy {
    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is shown a name and password.
    pub fn has_password(&self) -> bool {
        self.authorization.is_some()
    }

    /// A connection to `server`, opened by the proxy.
    pub(crate) async fn tunnel(
        &self,
        server: &Address,
        connect_wait: Duration,
    ) -> Result<TcpStream, TunnelError> {
        let connected = timeout(connect_wait, self.address.dial()).await;
        let unreachable = |_| TunnelError::Unreachable(io::ErrorKind::TimedOut.into());
        let mut tcp = connected.map_err(unreachable)?.map_err(TunnelError::Unreachable)?;
        let asked = timeout(ANSWER_SECONDS_MAX, self.ask(&mut tcp, server)).await;
        asked.map_err(|_| TunnelError::Silent)?.map(|()| tcp)
    }

    async fn ask(&self, tcp: &mut TcpStream, server: &Address) -> Result<(), TunnelError> {
        let authorization = match &self.authorization {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        let request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{authorization}\r\n");
        tcp.write_all(request.as_bytes()).await.map_err(TunnelError::Broken)?;
        let mut answer = Vec::new();
        loop {
            if tcp.read_buf(&mut answer).await.map_err(TunnelError::Broken)? == 0 {
                return Err(TunnelError::Malformed("it ended before its headers did"));
            }
            if let Some(read) = read_answer(&answer) {
                return read;
            }
        }
    }
}

/// What a proxy's answer to CONNECT means, as far as it has come; `None` while its headers have not ended.
pub fn read_answer(answer: &[u8]) -> Option<Result<(), TunnelError>> {
    if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
        // A TLS server waits for its client to begin, so whatever follows a yes is not the server's.
        let more = answer.len() > end.saturating_add(4);
        return Some(opened(answer.get(..end).unwrap_or_default(), more));
    }
    let is_long = answer.len() > ANSWER_BYTES_MAX;
    is_long.then_some(Err(TunnelError::Malformed("its headers are longer than 8 KiB")))
}

/// Whether the headers of an answer say that the tunnel is open. `more`: bytes came after them.
fn opened(headers: &[u8], more: bool) -> Result<(), TunnelError> {
    let line = headers.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ');
    if !words.next().is_some_and(|version| matches!(version, "HTTP/1.0" | "HTTP/1.1")) {
        return Err(TunnelError::Malformed("it does not begin with HTTP/1.1 or HTTP/1.0"));
    }
    let status = words.next().filter(|code| code.len() == 3).and_then(|code| code.parse::<u16>().ok());
    match status {
        Some(200..=299) if more => Err(TunnelError::Malformed("it sent more than an answer")),
        Some(200..=299) => Ok(()),
        Some(status) => {
            Err(TunnelError::Refused { status, reason: printable(words.next().unwrap_or_default()) })
        }
        None => Err(TunnelError::Malformed("its status is no number of three digits")),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_CHARACTERS_MAX).collect()
}

/// `name:password`, both percent-encoded, as the value of a header (RFC 7617).
fn basic(credentials: &str) -> Result<String, ProxyError> {
    let (name, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (name, password) = (percent_decoded(name)?, percent_decoded(password)?);
    if name.is_empty() || name.contains(&b':') {
        return Err(ProxyError::Credentials);
    }
    let plain = [name.as_slice(), b":", password.as_slice()].concat();
    Ok(format!("Basic {}", evidence::json::encode_base64(&plain)))
}

fn percent_decoded(text: &str) -> Result<Vec<u8>, ProxyError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let digits =
                [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
            let [Some(high), Some(low)] = digits else { return Err(ProxyError::Credentials) };
            u8::try_from(high * 16 + low).map_err(|_| ProxyError::Credentials)?
        } else {
            byte
        };
        if byte.is_ascii_control() {
            return Err(ProxyError::Credentials);
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

/// Which connections go through a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    proxy: Option<Proxy>,
    direct: Vec<Direct>,
}

/// What is reached without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    All,
    /// This name and all below it, lower-case.
    Name(String),
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u8),
}

impl Proxies {
    /// No proxy at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxy at `url` for everything but what `except` lists, as the variable NO_PROXY does: names (and all names below
    /// them), addresses, networks like 10.0.0.0/8, or `*`, divided by commas. What can be none of them matches nothing.
    pub fn new(url: &str, except: &str) -> Result<Self, ProxyError> {
        let direct = except.split(',').filter_map(|entry| Direct::parse(entry.trim())).collect();
        Ok(Self { proxy: Some(url.trim().parse()?), direct })
    }

    /// What the variables https_proxy and no_proxy say, the lower-case ones first, as curl does.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let either =
            |names: [&str; 2]| names.into_iter().find_map(&read).filter(|value| !value.trim().is_empty());
        match either(["https_proxy", "HTTPS_PROXY"]) {
            None => Ok(Self::none()),
            Some(url) => Self::new(&url, &either(["no_proxy", "NO_PROXY"]).unwrap_or_default()),
        }
    }

    /// The proxy on the way to `server`; none where the way is direct.
    pub fn for_server(&self, server: &Address) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.direct.iter().any(|direct| direct.holds(server)))
    }

    /// The proxy, whatever the server.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Network(address, u8::MAX));
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return Some(Self::Network(network.parse().ok()?, bits.parse().ok()?));
        }
        let name = entry.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Name(name))
    }

    fn holds(&self, server: &Address) -> bool {
        match (self, server.host().parse::<IpAddr>()) {
            (Self::All, _) => true,
            (Self::Network(network, bits), Ok(address)) => same_network(*network, address, *bits),
            (Self::Name(name), Err(_)) => {
                let host = server.host().to_ascii_lowercase();
                let host = host.strip_suffix('.').unwrap_or(&host);
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network(..), Err(_)) | (Self::Name(_), Ok(_)) => false,
        }
    }
}

fn same_network(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    let as_bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128_u32),
    };
    let ((one, width), (other, of)) = (as_bits(network), as_bits(address));
    let bits = u32::from(bits).min(width);
    // Shifting all 128 bits away leaves nothing, and nothing is equal.
    width == of && (one ^ other).checked_shr(128 - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests;
