//! The messages of `tallystick.v1`, generated from `proto/tallystick/v1/*.proto`.
//!
//! In scope: plain messages. Not in scope: rules about them (`evidence`), gRPC services (`rpc`).
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]

include!(concat!(env!("OUT_DIR"), "/tallystick.v1.rs"));
