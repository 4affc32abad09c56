//! Order and completeness at the moment a conversation opens, seen by a scripted client that
//! keeps every datagram as it came.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lab::shipworm::{Datapath, Relay, Settings};
use lab::teredo_client::{Bubbles, Clients};
use lab::{Lab, Options, teredo_server, wait_for};

const DATAGRAMS: u32 = 2_000;
/// Datagrams on their way at once: fewer than the relay queues for a peer.
const WINDOW: usize = 14;
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(5);
/// Where the inner UDP payload begins.
const DATA_AT: usize = 40 + 8;

/// Datagrams keep coming while the peer is probed, while its queue is sent and while the fast
/// path takes over.
fn a_cold_stream_keeps_its_order(datapath: Datapath) {
    let lab = Lab::new(&Options {
        nats: Vec::new(),
        ..Options::default()
    })
    .unwrap();
    let _server = teredo_server::Server::start(&lab.server, Lab::SERVER_V4).unwrap();
    let relay = Relay::start(&lab, &Settings::new(datapath)).unwrap();
    for run in 0..5 {
        // New addresses every time, so every run is cold.
        let clients = Clients::start(&lab, Lab::SERVER_V4, run + 1, Bubbles::Answered).unwrap();
        let host = lab.host.enter(|| UdpSocket::bind((Lab::HOST, 0))).unwrap();
        let to = SocketAddr::from((clients.ipv6(run), 9));
        for number in 0..DATAGRAMS {
            wait_for("arrivals", ARRIVAL_DEADLINE, || {
                number as usize - clients.waiting() < WINDOW
            })
            .unwrap();
            host.send_to(&number.to_be_bytes(), to).unwrap();
        }
        wait_for("the last arrival", ARRIVAL_DEADLINE, || {
            clients.waiting() >= DATAGRAMS as usize
        })
        .unwrap();
        let numbers: Vec<u32> = clients
            .take_arrivals()
            .iter()
            .map(|arrival| u32::from_be_bytes(arrival.payload[DATA_AT..].try_into().unwrap()))
            .collect();
        let disorder = numbers.iter().zip(0..).find(|(number, i)| **number != *i);
        assert_eq!(disorder, None, "{datapath}, run {run}");
    }
    relay.stop().unwrap();
}

#[test]
fn a_stream_that_opens_a_conversation_through_xdp_keeps_its_order() {
    a_cold_stream_keeps_its_order(Datapath::Xdp);
}

#[test]
fn a_stream_that_opens_a_conversation_through_generic_xdp_keeps_its_order() {
    a_cold_stream_keeps_its_order(Datapath::XdpGeneric);
}

#[test]
fn a_stream_that_opens_a_conversation_through_user_space_keeps_its_order() {
    a_cold_stream_keeps_its_order(Datapath::Userspace);
}
