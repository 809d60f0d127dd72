//! Binary of `cli`.
fn main() {}
