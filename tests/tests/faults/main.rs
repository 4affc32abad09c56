//! Faults under traffic: what is lost is named, nothing else is.

#[path = "../behaviour/packet.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod packet;
#[path = "../behaviour/scene.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod scene;
#[path = "../behaviour/wire.rs"]
#[allow(dead_code, reason = "shared with the tests of behaviour")]
mod wire;

#[path = "../lifecycle/daemon.rs"]
#[allow(dead_code, reason = "shared with the tests of the life cycle")]
mod daemon;

mod clock;
mod interfaces;
mod pins;
mod resources;
mod stopped;
mod succession;
mod traffic;
