//! A BPF file system that cannot be used, and what others have left on it.

use lab::shipworm::Relay;

use crate::scene::status;
use crate::traffic::{World, pinned};

fn with_pin_dir(directory: &str) -> lab::shipworm::Settings {
    let mut settings = pinned();
    settings.flags = ["--pin-dir", directory].map(str::to_owned).to_vec();
    settings
}

#[test]
fn where_nothing_can_be_pinned_the_relay_works_and_says_so() {
    let world = World::new();
    for (directory, word) in [
        ("/proc/shipworm", "--pin-dir /proc/shipworm"),
        ("/tmp", "mount -t bpf"),
    ] {
        let relay = world.relay(&with_pin_dir(directory));
        let now = status(&relay);
        assert_eq!(now.datapath.pinned_in, None);
        let warned = now.warnings.iter().any(|warning| warning.contains(word));
        assert!(warned, "{:?}", now.warnings);
        relay.stop().unwrap();
    }
}

#[test]
fn the_pins_of_a_relay_whose_namespace_is_gone_are_removed_by_the_next_start() {
    // Both machines see one BPF file system.
    let here = World::new();
    let gone = World::new();
    gone.relay(&pinned()).kill().unwrap();
    let pins = || -> Vec<String> {
        let listed = here.scene.lab.relay.run(["ls", "/sys/fs/bpf/shipworm"]);
        listed.unwrap().lines().map(str::to_owned).collect()
    };
    assert_eq!(pins().len(), 1);
    drop(gone);
    let relay = lab::wait_for_some("the namespace to be gone", crate::scene::SOON, || {
        let relay = Relay::start(&here.scene.lab, &pinned()).unwrap();
        if pins().len() == 1 {
            return Some(relay);
        }
        relay.stop().unwrap();
        None
    });
    let (relay, _) = relay.unwrap();
    relay.stop().unwrap();
    here.scene
        .lab
        .relay
        .run(["ls", "/sys/fs/bpf/shipworm"])
        .unwrap_err();
}
