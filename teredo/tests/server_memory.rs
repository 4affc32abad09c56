//! The server asks for no memory to handle a packet, once it has seen traffic like it.

mod counting;
mod solicitors;

use std::time::Duration;

use counting::{held, requests};
use solicitors::Solicitors;

fn everything(clients: &mut Solicitors, count: u32) {
    for _ in 0..count {
        clients.solicit();
        clients.solicit_signed();
        clients.bubble();
    }
}

#[test]
fn an_answer_and_a_forwarded_bubble_ask_for_no_memory() {
    let mut clients = Solicitors::new(Duration::from_millis(1));
    everything(&mut clients, 100_000);
    assert_eq!(requests(|| everything(&mut clients, 100_000)), 0);
}

#[test]
fn a_flood_gives_its_memory_back_when_it_is_over() {
    let mut clients = Solicitors::new(Duration::from_micros(1));
    everything(&mut clients, 1);
    let small = held();
    everything(&mut clients, 50_000);
    let large = held();
    let later = clients.now + Duration::from_mins(1);
    assert!(clients.server.give_back_memory(later));
    let left = held() - small;
    assert!(
        large - small > 4 << 20,
        "the flood took {} bytes",
        large - small
    );
    assert!(left < 1 << 19, "{left} bytes are left of {}", large - small);
    clients.now = later;
    everything(&mut clients, 10);
}
