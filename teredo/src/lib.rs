//! The Teredo protocol (RFC 4380, 5991, 6081) as a deterministic library.
//!
//! Nothing here performs I/O, reads a clock or draws from a global random source: time and
//! randomness are arguments, packets are slices. The same parsing and address checks run in
//! the XDP program (without features, `core` only), in the slow path and in tests,
//! so they cannot disagree.
//!
//! Rules are cited as `R-n` (relay), `S-n` (server), `C-n` (client); `docs/protocol.md` lists
//! them with the place that implements each.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod addr;
mod fate;
pub mod filter;
mod net;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "server")]
pub mod server;
// What one role does without, the other needs.
#[cfg_attr(not(all(feature = "relay", feature = "server")), allow(dead_code))]
#[cfg(feature = "alloc")]
mod shared;
mod time;
pub mod wire;

pub use fate::Fate;
pub use net::{Ipv4Net, Ipv6Net};
#[cfg(feature = "alloc")]
pub use shared::tally::{Count, Tally};
pub use time::Instant;
