//! The Shipworm daemon.
pub mod error;
