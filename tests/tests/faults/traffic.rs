//! Data of established peers, both ways, each packet known by its number.

use std::net::{Ipv4Addr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use lab::Lab;
use lab::shipworm::{Datapath, Relay, Settings};
use lab::teredo_client::Bubbles;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};

use crate::packet;
use crate::scene::{SERVICE, Scene};

/// Established peers.
pub(crate) const PEERS: usize = 4;
const PORT: u16 = 4001;
const INTERVAL: Duration = Duration::from_micros(500);
/// After so long without a packet none is on its way any more.
const SETTLED: Duration = Duration::from_millis(500);

/// A scene with established peers, and the native host's socket.
pub(crate) struct World {
    pub(crate) scene: Scene,
    host: UdpSocket,
    /// Number of the exchange, which its packets carry: what waited somewhere during one may arrive in the next.
    exchange: AtomicU32,
}

/// What was sent and what came, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) sent: usize,
    pub(crate) to_clients: usize,
    pub(crate) to_host: usize,
}

impl Counted {
    pub(crate) fn lost(&self) -> (usize, usize) {
        (self.sent - self.to_clients, self.sent - self.to_host)
    }
}

/// A relay whose program outlives it.
pub(crate) fn pinned() -> Settings {
    Settings {
        pins: true,
        max_peers: 1024,
        ..Settings::new(Datapath::Xdp)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let scene = Scene::new(PEERS, Bubbles::Answered);
        let address = SocketAddrV6::new(Lab::HOST, PORT, 0, 0);
        let host = scene.lab.host.enter(|| UdpSocket::bind(address)).unwrap();
        host.set_read_timeout(Some(SETTLED)).unwrap();
        // What comes is counted when all is sent.
        let bytes: libc::c_int = 128 << 20;
        let len = libc::socklen_t::try_from(size_of_val(&bytes)).unwrap();
        // SAFETY: the pointer and the length describe `bytes`, which outlives the call.
        let set = unsafe {
            let value = (&raw const bytes).cast();
            libc::setsockopt(
                host.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                value,
                len,
            )
        };
        assert_eq!(set, 0);
        Self {
            scene,
            host,
            exchange: AtomicU32::new(0),
        }
    }

    /// A relay that has just been started trusts the peers.
    pub(crate) fn relay(&self, settings: &Settings) -> Relay<'_> {
        let relay = Relay::start(&self.scene.lab, settings).unwrap();
        self.scene.establish(PEERS);
        // The first packet after the handshake makes neighbours known on both sides.
        self.exchange(PEERS * 4);
        relay
    }

    /// One packet each way, of peer `number` modulo their count.
    fn send(&self, number: usize) {
        let client = number % PEERS;
        let address = self.scene.clients.ipv6(client);
        let number = u32::try_from(number).unwrap();
        let bytes = [self.exchange.load(Relaxed), number]
            .map(u32::to_be_bytes)
            .concat();
        self.scene.v6.send(&packet::udp(Lab::HOST, address, &bytes));
        let inner = packet::udp(address, Lab::HOST, &bytes);
        self.scene.clients.send(client, SERVICE, &inner).unwrap();
    }

    /// Sends `count` packets each way and counts what comes.
    pub(crate) fn exchange(&self, count: usize) -> Counted {
        let start = Instant::now();
        for number in 0..count {
            thread::sleep(
                (INTERVAL * u32::try_from(number).unwrap()).saturating_sub(start.elapsed()),
            );
            self.send(number);
        }
        self.count(count)
    }

    /// Sends while `during` runs and for some packets after, and counts what comes.
    pub(crate) fn exchange_while<T: Send>(
        &self,
        during: impl FnOnce() -> T + Send,
    ) -> (T, Counted) {
        const AFTER: usize = 200;
        let over = AtomicBool::new(false);
        let (value, sent) = thread::scope(|scope| {
            let during = scope.spawn(|| {
                let value = during();
                over.store(true, Relaxed);
                value
            });
            let (start, mut sent, mut left) = (Instant::now(), 0, AFTER);
            // One that panicked says nothing.
            while left > 0 && (over.load(Relaxed) || !during.is_finished()) {
                let due = INTERVAL * u32::try_from(sent).unwrap();
                thread::sleep(due.saturating_sub(start.elapsed()));
                self.send(sent);
                sent += 1;
                left -= usize::from(over.load(Relaxed));
            }
            (during.join().unwrap(), sent)
        });
        (value, self.count(sent))
    }

    fn count(&self, sent: usize) -> Counted {
        let exchange = self.exchange.fetch_add(1, Relaxed);
        let mut seen = Seen::new(exchange, sent);
        let mut buffer = [0; 64];
        while let Ok(len) = self.host.recv(&mut buffer) {
            seen.add(&buffer[..len]);
            if seen.count() == sent {
                break;
            }
        }
        let to_host = seen.count();
        let mut seen = Seen::new(exchange, sent);
        let _ = lab::wait_for("the packets at the clients", SETTLED, || {
            for arrival in self.scene.clients.take_arrivals() {
                seen.add(&arrival.payload[arrival.payload.len() - NUMBER_LEN..]);
            }
            seen.count() == sent
        });
        Counted {
            sent,
            to_clients: seen.count(),
            to_host,
        }
    }

    /// A packet to each of `count` clients nobody has, at a pace that leaves room on the cable.
    pub(crate) fn ask_for_new_peers(&self, count: u16) {
        for peer in 0..count {
            if peer % 16 == 0 {
                thread::sleep(INTERVAL / 5);
            }
            let mapped = Mapped {
                ip: Ipv4Addr::new(198, 51, 100, 200),
                port: 1024 + peer,
            };
            let address = TeredoAddr::new(ServerV4(Lab::SERVER_V4), 0, mapped);
            let packet = packet::udp(Lab::HOST, address.into(), b"to nobody");
            self.scene.v6.send(&packet);
        }
    }

    /// Sends until nothing comes through to clients any more.
    pub(crate) fn wait_for_silence(&self) {
        lab::wait_for("packets to stop", Duration::from_secs(30), || {
            self.exchange(PEERS).to_clients == 0
        })
        .unwrap();
    }

    /// Sends until all of some packets come through.
    pub(crate) fn wait_for_flow(&self) {
        lab::wait_for("packets to flow", Duration::from_secs(30), || {
            self.exchange(PEERS * 8).lost() == (0, 0)
        })
        .unwrap();
    }
}

/// Bytes of the number a packet carries.
const NUMBER_LEN: usize = 8;

/// Which packets of an exchange have come.
struct Seen {
    exchange: u32,
    numbers: Vec<bool>,
}

impl Seen {
    fn new(exchange: u32, sent: usize) -> Self {
        let numbers = vec![false; sent];
        Self { exchange, numbers }
    }

    fn add(&mut self, payload: &[u8]) {
        let (words, _) = payload.as_chunks();
        let [exchange, number] = [words[0], words[1]].map(u32::from_be_bytes);
        if exchange == self.exchange {
            let seen = &mut self.numbers[number as usize];
            assert!(!std::mem::replace(seen, true), "{number} came twice");
        }
    }

    fn count(&self) -> usize {
        self.numbers.iter().filter(|seen| **seen).count()
    }
}
