//! gRPC services of `tallystick.v1` over the messages of `proto`.
//!
//! In scope: generated stubs, wire mapping, and a client's connection over a TLS configuration it is given.
//! Not in scope: rules, storage, certificates.

pub mod connect;
pub mod fetch;
pub mod proxy;

/// Generated clients and servers.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub, reason = "generated code")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/tallystick.v1.rs"));
}

/// The compiled descriptors of every message and service, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
