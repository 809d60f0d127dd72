//! Binary of `agent`.
fn main() {}
