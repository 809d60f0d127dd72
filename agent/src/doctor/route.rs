//! The way to the collector, hop by hop.

use std::sync::Arc;
use std::time::Duration;

use certs::{CertificateWords, ClientConfig, Presented};
use evidence::statement::SCHEMA_MAX;
use evidence::time::{Clock, Timestamp};
use proto::from_agent::Item as Out;
use proto::to_agent::Item as In;
use rpc::connect::{Address, ConnectError, Connection, connect_through};
use rpc::proxy::{Proxies, Proxy, TunnelError};
use rpc::v1::ingest_client::IngestClient;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::cli::Enrolment;
use super::local::{CLOCK_OFF_MS_MAX, denied, span};
use super::{Check, Outcome, date};
use crate::Causes;
use crate::anchor::AnchorFile;
use crate::disk::Folder;
use crate::identity::{ANCHOR_FILE, Identity};
use crate::spool::Spool;
use crate::state::{OPEN_MODE, StateDirectory};

/// The checks of the way, in order.
pub(super) const NAMES: [&str; 6] = ["dns", "tcp", "proxy", "tls", "greeting", "time"];
/// Longest wait for a name, and for each answer of the collector.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Largest message taken from a collector, bytes: a checkpoint may follow the welcome.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Most addresses of a name that are shown.
const SHOWN_ADDRESSES_MAX: usize = 4;
/// What to do about a peer that is no collector.
const OTHER_SERVER: &str = "something else than a collector answers there: check address and port; a firewall that inspects may speak older TLS only";

/// Where to, and how to prove oneself there.
pub(super) struct Target {
    address: Address,
    tls: Arc<ClientConfig>,
    presented: Presented,
    clock: Arc<dyn Clock>,
    /// What the greeting says; none where nobody can be greeted, with the reason.
    greeting: Result<Greeting, &'static str>,
}

struct Greeting {
    hello: proto::Hello,
    /// The next sequence of this device.
    next: u64,
    /// The lowest sequence that is not proved.
    lowest: u64,
}

impl Target {
    /// The collector of an enrolled device.
    pub(super) fn of_device(
        state: &StateDirectory,
        identity: &Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let address = identity.stored.agents_address.parse::<Address>();
        let address = address.map_err(|error| format!("agents_address: {error}"))?;
        let root = identity.root().ok_or("identity.json holds no root certificate")?;
        let presented = Presented::default();
        let keys = match identity.tls(state) {
            Ok(keys) => Some(keys),
            Err(error) if denied(&error) => None,
            Err(error) => return Err(Causes(&error).to_string()),
        };
        let time = Arc::new(certs::SystemClock(Arc::clone(&clock)));
        let keys_or_none = keys.as_ref().map(|keys| keys as &dyn certs::ClientIdentity);
        let tls = certs::examining_client(keys_or_none, root, time, &presented)
            .map_err(|error| Causes(&error).to_string())?;
        let greeting = if keys.is_some() {
            Greeting::of(state, identity).ok_or("the spool cannot be read")
        } else {
            Err("it takes the device's keys: run this as root")
        };
        Ok(Self { address, tls, presented, clock, greeting })
    }

    /// The enrolment listener.
    pub(super) fn of_enrolment(enrolment: &Enrolment, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let token = enrolment.token.as_ref().map_err(|why| format!("the token: {why}"))?;
        let presented = Presented::default();
        let time = Arc::new(certs::SystemClock(Arc::clone(&clock)));
        let tls = certs::examining_enrolment_client(token.pin, time, &presented)
            .map_err(|error| Causes(&error).to_string())?;
        let greeting = Err("nobody is greeted before the enrolment");
        Ok(Self { address: enrolment.server.clone(), tls, presented, clock, greeting })
    }

    /// Tries each hop; what lies behind one that fails is not tried.
    pub(super) async fn examine(&self, proxies: &Proxies) -> Vec<Check> {
        let proxy = proxies.for_server(&self.address);
        // Behind a proxy the collector's name is the proxy's to resolve.
        let first = proxy.map_or(&self.address, Proxy::address);
        let mut way = Way::new();
        way.dns = resolve(first).await;
        if way.dns.outcome == Outcome::Failed {
            return way.all();
        }
        let connected = connect_through(proxy, &self.address, Arc::clone(&self.tls)).await;
        let answers = || Check::ok("tcp", format!("{first} answers"));
        let direct = || match (proxy, proxies.proxy()) {
            (Some(proxy), _) => Check::ok("proxy", format!("{proxy} opened a tunnel to {}", self.address)),
            (None, Some(proxy)) => {
                Check::ok("proxy", format!("{} is excepted from {proxy}", self.address.host()))
            }
            (None, None) => Check::ok("proxy", "none: the way is direct"),
        };
        match connected {
            Ok(connection) => {
                (way.tcp, way.proxy) = (answers(), direct());
                way.tls = Self::accepted(&connection);
                (way.greeting, way.time) = self.greet(connection).await;
            }
            Err(error) => match &error {
                ConnectError::Tcp { .. } | ConnectError::Silent { step: "connecting", .. } => {
                    way.tcp = unreachable(&error, first);
                }
                ConnectError::Proxy { source, .. } if matches!(**source, TunnelError::Unreachable(_)) => {
                    way.tcp = unreachable(&error, first);
                }
                ConnectError::Proxy { source, .. } => {
                    way.tcp = answers();
                    way.proxy = closed(source, &self.address);
                }
                ConnectError::Tls { source, .. } => {
                    (way.tcp, way.proxy) = (answers(), direct());
                    way.tls = self.refused(source);
                }
                _ => {
                    (way.tcp, way.proxy) = (answers(), direct());
                    way.tls = Check::failed("tls", Causes(&error).to_string(), OTHER_SERVER);
                }
            },
        }
        way.all()
    }

    fn accepted(connection: &Connection) -> Check {
        let words = connection.server_chain.first().and_then(CertificateWords::read);
        let words = words.map_or_else(String::new, |words| {
            format!(": issued by {}, good until {}", words.issuer, words.not_after.rfc3339())
        });
        Check::ok("tls", format!("the collector's own certificate{words}"))
    }

    /// Why a handshake failed, from what was presented in it.
    fn refused(&self, error: &std::io::Error) -> Check {
        let host = self.address.host();
        let Some(words) = self.presented.chain().first().and_then(CertificateWords::read) else {
            return Check::failed("tls", format!("no certificate was shown: {error}"), OTHER_SERVER);
        };
        let now = self.clock.now();
        if self.presented.only_the_time_is_wrong() {
            return if now < words.not_before {
                let behind = span(words.not_before.ms().abs_diff(now.ms()));
                let detail = format!(
                    "this clock says {} and is at least {behind} behind: the collector's certificate begins at {}",
                    now.rfc3339(),
                    words.not_before.rfc3339()
                );
                Check::failed(
                    "tls",
                    detail,
                    "set the clock, and see that it is kept (timedatectl set-ntp true)",
                )
            } else {
                let late = span(now.ms().abs_diff(words.not_after.ms()));
                let detail = format!(
                    "the collector's certificate ended {late} ago, at {}, by this clock, which says {}",
                    words.not_after.rfc3339(),
                    now.rfc3339()
                );
                let next = "if this clock is ahead, set it; if it is right, tell the collector's operator";
                Check::failed("tls", detail, next)
            };
        }
        let shown = format!("presented was {:?}, issued by {:?}", words.subject, words.issuer);
        if is_of_the_name(error) {
            let next = "dial the name that is in the collector's certificate (`server_names` there), or have this one added";
            return Check::failed(
                "tls",
                format!("the collector's certificate is not for {host}: {shown}"),
                next,
            );
        }
        let next = format!(
            "somebody in between opens the connection (a firewall or proxy), or another server answers there: have \
             {host} excepted from inspection; if the collector was set up anew, enrol anew"
        );
        Check::failed("tls", format!("it is not the collector that answers: {shown}"), next)
    }

    /// Greets the collector as the agent does, and sends nothing more. The second check is of the clock.
    async fn greet(&self, connection: Connection) -> (Check, Check) {
        let unknown = || Check::not_tried("time", "the collector has not answered");
        let greeting = match &self.greeting {
            Ok(greeting) => greeting,
            Err(why) => return (Check::not_tried("greeting", *why), unknown()),
        };
        let mut client = IngestClient::new(connection.channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (sender, queue) = mpsc::channel(1);
        let hello = proto::FromAgent { item: Some(Out::Hello(greeting.hello.clone())) };
        if sender.try_send(hello).is_err() {
            return (Check::not_tried("greeting", "it could not be queued"), unknown());
        }
        let silent = || {
            let detail = format!("no answer within {} seconds", ANSWER_WAIT_MAX.as_secs());
            Check::failed("greeting", detail, "the collector is overloaded or hangs: tell its operator")
        };
        let answered = match timeout(ANSWER_WAIT_MAX, client.submit(ReceiverStream::new(queue))).await {
            Err(_) => return (silent(), unknown()),
            Ok(Err(status)) => return (no_welcome(&status), unknown()),
            Ok(Ok(answered)) => answered,
        };
        let date = answered.metadata().get("date").and_then(|value| date::parse(value.to_str().ok()?));
        let time = date.map_or_else(unknown, |date| self.difference(date));
        let mut messages = answered.into_inner();
        let greeted = match timeout(ANSWER_WAIT_MAX, messages.message()).await {
            Err(_) => silent(),
            Ok(Err(status)) => no_welcome(&status),
            Ok(Ok(Some(proto::ToAgent { item: Some(In::Welcome(welcome)) }))) => greeting.welcomed(&welcome),
            Ok(Ok(_)) => Check::failed("greeting", "it did not answer with a welcome", OTHER_SERVER),
        };
        (greeted, time)
    }

    fn difference(&self, collector: Timestamp) -> Check {
        let now = self.clock.now();
        let off = now.ms().abs_diff(collector.ms());
        let words = if now < collector { "behind" } else { "ahead of" };
        let detail = format!("this clock is {} {words} the collector's", span(off));
        if off > CLOCK_OFF_MS_MAX {
            let next = "set the clock, and see that it is kept (timedatectl set-ntp true); if it is right, tell the operator";
            return Check::failed("time", detail, next);
        }
        Check::ok("time", if off < 1000 { "this clock and the collector's agree".into() } else { detail })
    }
}

impl Greeting {
    fn of(state: &StateDirectory, identity: &Identity) -> Option<Self> {
        let contents = Spool::inspect(&Folder::new(state.spool(), OPEN_MODE), &identity.owner).ok()?;
        let anchor = AnchorFile::new(state.file(ANCHOR_FILE)).read(&identity.log);
        let anchor_size = anchor.ok().flatten().and_then(Result::ok).map_or(0, |anchor| anchor.size());
        let kept = contents.kept.keys().next().copied().unwrap_or(contents.next);
        let lost = contents.lost.first().copied().unwrap_or(contents.next);
        let instance = identity.owner.instance.as_bytes().to_vec();
        let hello = proto::Hello { instance, anchor_size, unproved: Vec::new() };
        Some(Self { hello, next: contents.next, lowest: kept.min(lost) })
    }

    fn welcomed(&self, welcome: &proto::Welcome) -> Check {
        let expected = welcome.next_sequence;
        if expected > self.next {
            let detail = format!("it expects statement {expected}, this device has made only {}", self.next);
            let next = "the disk was restored from a copy, or another machine uses this identity: enrol with a new token";
            return Check::failed("greeting", detail, next);
        }
        if expected < self.lowest {
            let detail = format!("it expects statement {expected}, and had proved all below {}", self.lowest);
            return Check::failed("greeting", detail, "its log was rolled back: tell its operator");
        }
        if welcome.schema_max < SCHEMA_MAX {
            let detail = format!(
                "it admits statements up to schema {}, this agent writes {SCHEMA_MAX}",
                welcome.schema_max
            );
            return Check::failed("greeting", detail, "the collector must be updated before its agents");
        }
        Check::ok("greeting", format!("it knows this device and expects statement {expected}"))
    }
}

/// What is known of the hops, in order.
struct Way {
    dns: Check,
    tcp: Check,
    proxy: Check,
    tls: Check,
    greeting: Check,
    time: Check,
}

impl Way {
    fn new() -> Self {
        let [dns, tcp, proxy, tls, greeting, time] =
            NAMES.map(|name| Check::not_tried(name, "what comes before it failed"));
        Self { dns, tcp, proxy, tls, greeting, time }
    }

    fn all(self) -> Vec<Check> {
        vec![self.dns, self.tcp, self.proxy, self.tls, self.greeting, self.time]
    }
}

async fn resolve(address: &Address) -> Check {
    let host = address.host();
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Check::ok("dns", format!("{host} is an address"));
    }
    let next = "check the name, the network and /etc/resolv.conf";
    match timeout(ANSWER_WAIT_MAX, lookup_host((host, address.port()))).await {
        Err(_) => Check::failed(
            "dns",
            format!("no answer for {host} within {} seconds", ANSWER_WAIT_MAX.as_secs()),
            next,
        ),
        Ok(Err(error)) => Check::failed("dns", format!("{host}: {error}"), next),
        Ok(Ok(found)) => {
            let all: Vec<String> =
                found.take(SHOWN_ADDRESSES_MAX).map(|found| found.ip().to_string()).collect();
            Check::ok("dns", format!("{host} is {}", all.join(", ")))
        }
    }
}

fn unreachable(error: &ConnectError, first: &Address) -> Check {
    let next = format!("check the network, a firewall on the way, and that something listens at {first}");
    Check::failed("tcp", Causes(error).to_string(), next)
}

fn closed(error: &TunnelError, address: &Address) -> Check {
    let next = match error {
        TunnelError::Refused { status: 407, .. } => {
            "give name and password in `proxy` of agent.toml, and chmod 0600 agent.toml".to_owned()
        }
        TunnelError::Refused { status: 401 | 403, .. } => {
            format!(
                "have CONNECT to {address} allowed, or list the host in `no_proxy` if it is reached directly"
            )
        }
        TunnelError::Refused { status: 500 | 502..=504, .. } => {
            format!(
                "the proxy itself does not reach {address}: check the address, and the proxy's own network"
            )
        }
        _ => "check that `proxy` in agent.toml, or https_proxy, names an HTTP proxy and its port".to_owned(),
    };
    Check::failed("proxy", Causes(error).to_string(), next)
}

fn is_of_the_name(error: &std::io::Error) -> bool {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        refused,
        Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
    )
}

fn no_welcome(status: &tonic::Status) -> Check {
    let next = "see `certificate` above; ask your administrator whether this device was retired or its certificate revoked";
    Check::failed("greeting", crate::upload::words_of(status), next)
}
