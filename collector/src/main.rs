//! Binary of `collector`.
fn main() {}
