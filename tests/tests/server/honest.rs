//! Honest clients, which qualify again and again.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lab::Lab;
use teredo::addr::SERVER_PORT;

use crate::scripted::Datagram;
use crate::solicit::{Answer, Header, SOLICITATION};

/// One client asks no more often: far below what the server grants.
const INTERVAL: Duration = Duration::from_millis(20);
const PORT: u16 = 40_000;
const ROOM: usize = 2048;

/// What they experienced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Experience {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// The longest wait for an answer.
    pub(crate) longest: Duration,
}

/// Somebody at an address of the bench machine.
struct Client {
    socket: UdpSocket,
    address: SocketAddrV4,
    server: SocketAddrV4,
    /// Of the last solicitation.
    nonce: u64,
    asked: Instant,
    waits: bool,
}

/// All of them.
pub(crate) struct Honest {
    clients: Vec<Client>,
    /// How long an answer is waited for.
    patience: Duration,
}

impl Honest {
    /// `count` clients of the server with that primary address, who wait so long for an answer.
    pub(crate) fn new(lab: &Lab, count: u32, server: Ipv4Addr, patience: Duration) -> Self {
        let server = SocketAddrV4::new(server, SERVER_PORT);
        let client = |n: u32| {
            let ip = Ipv4Addr::from_bits(Lab::BENCH_POOL.to_bits() + n);
            let address = SocketAddrV4::new(ip, PORT);
            let socket = lab.bench.enter(|| UdpSocket::bind(address)).unwrap();
            socket.connect(server).unwrap();
            socket.set_nonblocking(true).unwrap();
            Client {
                socket,
                address,
                server,
                nonce: u64::from(n) << 32,
                asked: Instant::now(),
                waits: false,
            }
        };
        Self {
            clients: (0..count).map(client).collect(),
            patience,
        }
    }

    /// Each asks as soon as its last solicitation is answered, or lost, until `stop`.
    pub(crate) fn qualify_until(&mut self, stop: &AtomicBool) -> Experience {
        let mut experience = Experience::default();
        loop {
            let stopping = stop.load(Relaxed);
            for client in &mut self.clients {
                client.turn(stopping, self.patience, &mut experience);
            }
            if stopping && !self.clients.iter().any(|client| client.waits) {
                return experience;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Each asks once.
    pub(crate) fn qualify_once(&mut self) -> Experience {
        for client in &mut self.clients {
            client.ask();
        }
        let asked = self.clients.len() as u64;
        let experience = self.qualify_until(&AtomicBool::new(true));
        Experience {
            asked,
            ..experience
        }
    }
}

impl Client {
    fn turn(&mut self, stopping: bool, patience: Duration, experience: &mut Experience) {
        // What has arrived counts however late this is looked at.
        while let Some(answer) = self.receive() {
            let header = answer.header.expect("a nonce was sent");
            if header == Header::of_nonce(self.nonce.to_be_bytes()) && self.waits {
                experience.answered += 1;
                experience.longest = experience.longest.max(self.asked.elapsed());
                self.waits = false;
            }
        }
        if self.waits && self.asked.elapsed() > patience {
            self.waits = false;
        }
        if !self.waits && !stopping && self.asked.elapsed() > INTERVAL {
            self.ask();
            experience.asked += 1;
        }
    }

    fn ask(&mut self) {
        self.nonce += 1;
        let header = Header::of_nonce(self.nonce.to_be_bytes());
        self.asked = Instant::now();
        self.waits = true;
        // Not sent is lost.
        let _ = self.socket.send(&header.before(&SOLICITATION));
    }

    fn receive(&self) -> Option<Answer> {
        let mut buffer = [0; ROOM];
        let len = self.socket.recv(&mut buffer).ok()?;
        let payload = &buffer[..len];
        let datagram = Datagram::new(self.server, self.address, payload);
        Some(Answer::of(*self.server.ip(), &datagram))
    }
}
