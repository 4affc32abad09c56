//! The `shipworm` binary.
fn main() {}
