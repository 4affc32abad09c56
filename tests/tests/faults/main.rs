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

mod interfaces;
mod pins;
mod stopped;
mod succession;
mod traffic;
