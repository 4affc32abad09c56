//! What the binary can be: the relay.

mod fast_path;
pub mod foresight;
mod memory;
pub mod relay;
mod running;
mod status_desk;
mod succession;
mod workers;
