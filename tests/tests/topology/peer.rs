//! A scripted Teredo client that answers pings and sends its own.

use std::net::{Ipv6Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::teredo_client::{Arrival, Bubbles, Clients};
use lab::teredo_server::Server;
use lab::{Lab, Ping, PingReport, RELAY_PORT, wait_for};
use teredo::addr::Mapped;
use teredo::wire::{checksum, ipv6, payload};

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const HOP_LIMIT: u8 = 64;
/// How long anything between the lab's machines may take.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// How often the answering thread looks whether it should stop.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Where the lab's relay serves.
pub(crate) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Lab::RELAY_V4, RELAY_PORT);

/// A client behind no NAT, its server, and a thread that answers echo requests.
pub(crate) struct Peer<'lab> {
    lab: &'lab Lab,
    clients: Arc<Clients>,
    inbox: Arc<Mutex<Vec<Arrival>>>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _server: Server,
}

impl<'lab> Peer<'lab> {
    pub(crate) fn start(lab: &'lab Lab) -> Self {
        let server = Server::start(&lab.server, Lab::SERVER_V4).unwrap();
        let clients = Clients::start(lab, Lab::SERVER_V4, 1, Bubbles::Answered).unwrap();
        let mut peer = Self {
            lab,
            clients: Arc::new(clients),
            inbox: Arc::default(),
            answered: Arc::default(),
            stop: Arc::default(),
            thread: None,
            _server: server,
        };
        peer.thread = Some(peer.answering_thread());
        peer
    }

    fn answering_thread(&self) -> JoinHandle<()> {
        let (clients, inbox) = (Arc::clone(&self.clients), Arc::clone(&self.inbox));
        let (answered, stop) = (Arc::clone(&self.answered), Arc::clone(&self.stop));
        std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                let _ = wait_for("arrivals", STOP_POLL, || clients.waiting() > 0);
                for arrival in clients.take_arrivals() {
                    if let Some(reply) = reply_to(&arrival.payload) {
                        // Not sent is lost, as on any path.
                        let _ = clients.send(0, arrival.from, &reply);
                        answered.fetch_add(1, Relaxed);
                    } else {
                        lock(&inbox).push(arrival);
                    }
                }
            }
        })
    }

    /// Its Teredo address.
    pub(crate) fn ipv6(&self) -> Ipv6Addr {
        self.clients.ipv6(0)
    }

    /// Its IPv4 address and port.
    pub(crate) fn mapped(&self) -> Mapped {
        self.clients.mapped(0)
    }

    /// Echo requests answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }

    /// The native host pings it.
    pub(crate) fn pinged(&self, ping: &Ping) -> PingReport {
        ping.run(&self.lab.host, self.ipv6()).unwrap()
    }

    /// It pings the native host through the relay, which must trust it; gives the replies that came.
    pub(crate) fn pings(&self, count: u16) -> usize {
        lock(&self.inbox).clear();
        for sequence in 0..count {
            self.send(&self.request(sequence, 56));
        }
        // What did not come is the caller's to judge.
        let _ = wait_for("echo replies", SOON, || {
            self.replies() >= usize::from(count)
        });
        self.replies()
    }

    /// An echo request of it to the native host.
    pub(crate) fn request(&self, sequence: u16, data_len: usize) -> Vec<u8> {
        let mut message = vec![ECHO_REQUEST, 0, 0, 0, 0x5e, 0xed];
        message.extend(sequence.to_be_bytes());
        message.extend((0..=u8::MAX).cycle().take(data_len));
        packet(self.ipv6(), Lab::HOST, message)
    }

    /// Echo replies received since the inbox was last empty.
    pub(crate) fn replies(&self) -> usize {
        let inbox = lock(&self.inbox);
        inbox
            .iter()
            .filter_map(|arrival| payload::parse(&arrival.payload).ok())
            .filter(|p| p.header.next_header == ipv6::ICMP6 && p.body.first() == Some(&ECHO_REPLY))
            .count()
    }

    fn send(&self, packet: &[u8]) {
        self.clients.send(0, SERVICE, packet).unwrap();
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

/// Whether every request was answered once. In which order is the scheduler's affair: a busy machine moves a sending
/// thread from one CPU's queue to another's.
pub(crate) fn is_complete(report: &PingReport) -> bool {
    report.received == report.sent && report.duplicates == 0
}

/// An ICMPv6 packet.
pub(crate) fn packet(source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let (source, destination) = (source.octets(), destination.octets());
    message[2..4].fill(0);
    let sum = checksum::upper_layer(&source, &destination, ipv6::ICMP6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let [len_high, len_low] = u16::try_from(message.len()).unwrap().to_be_bytes();
    let front = [0x60, 0, 0, 0, len_high, len_low, ipv6::ICMP6, HOP_LIMIT];
    [&front[..], &source, &destination, &message].concat()
}

/// The answer to an echo request.
fn reply_to(datagram: &[u8]) -> Option<Vec<u8>> {
    let request = payload::parse(datagram).ok()?;
    let header = request.header;
    if header.next_header != ipv6::ICMP6 || request.body.first() != Some(&ECHO_REQUEST) {
        return None;
    }
    let mut message = request.body.to_vec();
    message[0] = ECHO_REPLY;
    Some(packet(
        header.destination.into(),
        header.source.into(),
        message,
    ))
}

fn lock(inbox: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}
