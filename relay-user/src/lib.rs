//! The Shipworm daemon.
