//! Set-up, build, run, test and lint of Shipworm.
fn main() {}
