//! Binary of `verifier`.
fn main() {}
