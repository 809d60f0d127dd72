//! Where a witness is reached: the URL of its line in the policy.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// Port of http and of https where a URL names none.
const PORTS: (u16, u16) = (80, 443);

/// Why a URL is not one a witness can be asked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL of this form.
    #[error("{0:?} is not a URL of the form https://HOST[:PORT][/PREFIX]")]
    Form(String),
    /// Without TLS an answer of the network would pass for one of the witness: refusals are not signed.
    #[error("{0:?} has no TLS: http:// is only for addresses of this machine, as http://127.0.0.1:7380")]
    Plain(String),
}

/// A witness's submission prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    /// Without the slash at its end.
    prefix: String,
}

impl Endpoint {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| form())?;
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(form());
        }
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (false, PORTS.0),
            Some("https") => (true, PORTS.1),
            _ => return Err(form()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // `host:` and `host:99999` are authorities too, with nothing that could be dialled.
        let port = match authority.port_u16() {
            Some(0) => return Err(form()),
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => default_port,
            None => return Err(form()),
        };
        if host.is_empty() {
            return Err(form());
        }
        if !tls && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
            return Err(EndpointError::Plain(text.to_owned()));
        }
        Ok(Self { tls, host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Whether it is asked over TLS.
    pub fn has_tls(&self) -> bool {
        self.tls
    }

    /// DNS name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path of a call below the prefix; `below` begins with a slash.
    pub fn path(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    /// Value of the header Host.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_witnesses_are_read_and_others_refused() {
        for (text, host, port, path, tls) in [
            ("https://w.example", "w.example", 443, "/add-checkpoint", true),
            ("https://w.example:8443/a/b/", "w.example", 8443, "/a/b/add-checkpoint", true),
            ("http://127.0.0.1:7380", "127.0.0.1", 7380, "/add-checkpoint", false),
            ("http://[::1]:7380/x", "::1", 7380, "/x/add-checkpoint", false),
            ("https://192.0.2.1/", "192.0.2.1", 443, "/add-checkpoint", true),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            let found =
                (endpoint.host(), endpoint.port(), endpoint.path("/add-checkpoint"), endpoint.has_tls());
            assert_eq!(found, (host, port, path.to_owned(), tls), "{text}");
            assert_eq!(Endpoint::parse(&endpoint.to_string()).unwrap(), endpoint, "{text}");
        }
        for text in [
            "",
            "w.example",
            "/x",
            "ftp://w.example",
            "https://",
            "https://u@w.example",
            "https://w.example?q",
            "https://w.example/#f",
            "https://w.example:0",
            "https://w.example:99999",
            "https://w.example:",
            "https://w example",
        ] {
            let found = Endpoint::parse(text);
            assert!(matches!(found, Err(EndpointError::Form(_))), "{text}: {found:?}");
        }
        for text in
            ["http://w.example", "http://localhost:7380", "http://192.0.2.1:7380", "http://[2001:db8::1]"]
        {
            assert_eq!(Endpoint::parse(text), Err(EndpointError::Plain(text.to_owned())), "{text}");
        }
    }
}
