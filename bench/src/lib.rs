//! What the benchmarks share: the machine, its limits, a collector as a process, devices, and streams of attestations.
//!
//! Every figure is a ratio to a limit measured in the same run, because an absolute one says more about the machine.

pub mod artefacts;
pub mod attestations;
pub mod device;
pub mod filling;
pub mod handshakes;
pub mod installation;
pub mod limits;
pub mod logged;
pub mod machine;
pub mod numbers;
pub mod process;
pub mod reading;
pub mod reference;
pub mod stream;
