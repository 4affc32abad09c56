//! The Shipworm daemon.

pub mod cli;
pub mod config;
pub mod control;
pub mod datapath;
#[cfg(test)]
mod docs;
pub mod error;
pub mod logging;
pub mod net;
pub mod role;
pub mod sandbox;
pub mod slowpath;
pub mod status;
