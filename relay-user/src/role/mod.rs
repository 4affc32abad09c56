//! What the binary can be: a relay, a server, or both.

mod daemon;
mod fast_path;
mod foresight;
mod memory;
pub mod relay;
mod running;
pub mod server;
mod status_desk;
mod succession;
mod workers;

pub use daemon::RunError;
pub use foresight::{foresee, foresee_tun};
