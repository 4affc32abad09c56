//! The XDP program under `BPF_PROG_TEST_RUN`: a frame goes in; a frame, an action and one
//! counter come out.
//!
//! Each test has a network namespace of its own, whose routes and neighbours answer the
//! program's lookups. Expected frames are built byte by byte in [`frames`], without the
//! program's code.

mod access;
mod decap;
mod encap;
mod frames;
mod garbage;
mod kept_hops;
mod link;
mod oracle;
mod peers;
mod punt;
mod reasons;
#[path = "../rig/mod.rs"]
mod rig;
mod server;
mod vectors;
mod verifier;
mod vrf;
mod way_back;

use rig::topology;
