//! The programs the build script compiled.

/// The relay's XDP program, `relay`, and its maps.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shipworm-relay"));

/// The programs that stand in front of it under `BPF_PROG_TEST_RUN`, for tests and benchmarks.
#[cfg(feature = "rig")]
pub static RIG: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shipworm-rig"));

/// The textbook relay the program is measured against.
#[cfg(feature = "rig")]
pub static YARDSTICK: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shipworm-yardstick"));

/// The programs that make and end the traffic of the live benches.
#[cfg(feature = "rig")]
pub static GENERATOR: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shipworm-generator"));

/// The classifier that makes a packet generator's frames those of clients, for measurements on real cards.
#[cfg(feature = "rig")]
pub static WRAP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shipworm-wrap"));
