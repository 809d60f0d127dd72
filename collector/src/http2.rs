//! HTTP/2 settings of the gRPC listeners, all of them written down: tonic's defaults have no limit on streams and switch
//! off h2's guard against forced resets (RUSTSEC-2024-0003).

use std::time::Duration;

use tonic::transport::Server;

/// Streams at once of a device: Submit, and a few short calls.
const AGENT_STREAMS_MAX: u32 = 16;
/// Streams at once of a person, whose tools may watch and export beside each other.
const PERSON_STREAMS_MAX: u32 = 64;
/// Streams at once of somebody unknown: one enrolment, and its retry.
const STRANGER_STREAMS_MAX: u32 = 2;
/// Longest time to the head of an answer. Streams then run on; their handlers have limits of their own.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The same for people: a query over a whole fleet reads for a while.
const PERSON_ANSWER_MAX: Duration = Duration::from_mins(1);
/// Calls at once on one connection; more are refused at once with RESOURCE_EXHAUSTED and not queued.
const CALLS_PER_CONNECTION_MAX: usize = 8;
/// Streams this side resets because of a peer's errors before the connection ends with ENHANCE_YOUR_CALM.
const LOCAL_RESETS_MAX: usize = 64;
/// Streams a peer resets before they were looked at (CVE-2023-44487); h2's own default, written down.
const PENDING_RESETS_MAX: usize = 20;
/// Largest header block in bytes: gRPC's own headers take less than 1 KiB.
const HEADER_BYTES_MAX: u32 = 8 << 10;
/// Bytes of one stream that may wait unread: four of the largest envelopes.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of one connection that may wait unread.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// How often a quiet connection is probed: laptops vanish without a word.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);
/// The same for devices: a little more than the five minutes between their heartbeats, so that only those that vanished
/// are probed, and no laptop is woken up for it.
const AGENT_KEEPALIVE_INTERVAL: Duration = Duration::from_mins(6);
/// How long a probe may stay unanswered.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// After this a connection gets GOAWAY, so that clients come back under the newest certificates. Without tonic's grace
/// period, which would cut without GOAWAY; a stream that never ends must be ended by its handler.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_mins(30);
/// The same of somebody unknown: an enrolment takes a minute at most.
const STRANGER_AGE_MAX: Duration = Duration::from_mins(2);

/// Largest message of an enrolment in bytes, both ways.
pub const ENROL_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Largest message of a device in bytes: an envelope is at most 64 KiB, a greeting with 4,096 sequences 41 KiB. So much may
/// lie half read on each stream, and its numbers take eight times as much once it is decoded.
pub const AGENT_MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Largest request of a person in bytes: an act is at most 64 KiB of payload, in base64.
pub const PERSON_MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Whom a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Devices that enrol.
    Strangers,
    /// Enrolled devices.
    Agents,
    /// Admins, analysts and auditors.
    People,
}

/// tonic's server with every limit set for `clients`. The limits on message sizes are set on each service.
pub fn server(clients: Clients) -> Server {
    let (streams, answer, probes, age) = match clients {
        Clients::Strangers => (STRANGER_STREAMS_MAX, ANSWER_MAX, KEEPALIVE_INTERVAL, STRANGER_AGE_MAX),
        Clients::Agents => (AGENT_STREAMS_MAX, ANSWER_MAX, AGENT_KEEPALIVE_INTERVAL, CONNECTION_AGE_MAX),
        Clients::People => (PERSON_STREAMS_MAX, PERSON_ANSWER_MAX, KEEPALIVE_INTERVAL, CONNECTION_AGE_MAX),
    };
    Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(streams)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .load_shed(true)
        .timeout(answer)
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_adaptive_window(Some(false))
        .http2_keepalive_interval(Some(probes))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(age)
}
