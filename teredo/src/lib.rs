//! The Teredo protocol (RFC 4380, 5991, 6081) as a deterministic library.
//!
//! Nothing here performs I/O, reads a clock or draws from a global random source: time and
//! randomness are arguments, packets are slices. The same parsing and address checks run in
//! the XDP program (without the `relay` feature, `core` only), in the slow path and in tests,
//! so they cannot disagree.
//!
//! Rules are cited as `R-n` (relay), `S-n` (server), `C-n` (client); `docs/protocol.md` lists
//! them with the place that implements each.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "relay")]
extern crate alloc;

pub mod addr;
mod fate;
pub mod filter;
#[cfg(feature = "relay")]
pub mod relay;
mod time;
pub mod wire;

pub use fate::Fate;
pub use time::Instant;
