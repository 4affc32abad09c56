//! Scripted Teredo clients, thousands of them on one machine.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::trailer::Trailers;
use teredo::wire::{bubble, payload};

use crate::many_addresses::{Envelope, ManyAddresses};
use crate::service::Service;
use crate::{Lab, Node};

/// Addresses of the bench machine that clients use.
const ADDRESSES: usize = 128;
/// The first client port.
const FIRST_PORT: u16 = 41_000;
/// Clients that fit between the first client port and the end of ports.
pub const MAX_CLIENTS: usize = ADDRESSES * (65_536 - FIRST_PORT as usize);

/// What a client does with a bubble from its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bubbles {
    /// Answers it with a direct bubble (C-33).
    Answered,
    /// Nothing: the client is dead.
    Ignored,
}

/// Something a client received, other than a bubble it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Number of the client.
    pub client: usize,
    /// Where it came from.
    pub from: SocketAddrV4,
    /// TOS byte of the outer header.
    pub tos: u8,
    /// UDP payload.
    pub payload: Vec<u8>,
}

/// Clients without NAT on the bench machine: client *i* has address *i* mod 128 of the pool
/// and port 41000 + *i* / 128. Dropping them silences them.
#[derive(Debug)]
pub struct Clients {
    server: Ipv4Addr,
    count: usize,
    sockets: Arc<[ManyAddresses]>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    _service: Service,
}

impl Clients {
    /// Starts `count` clients of the Teredo server at `server`.
    ///
    /// # Errors
    /// A port is taken, or there are too many clients.
    pub fn start(lab: &Lab, server: Ipv4Addr, count: usize, bubbles: Bubbles) -> Result<Self> {
        ensure!(count <= MAX_CLIENTS, "at most {MAX_CLIENTS} clients");
        let sockets: Arc<[_]> = (0..count.div_ceil(ADDRESSES))
            .map(|nth| bind(&lab.bench, nth))
            .collect::<Result<_>>()?;
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let inbox = Arc::clone(&arrivals);
        let service = Service::start(Arc::clone(&sockets), move |socket, envelope, payload| {
            let answer = match bubbles {
                Bubbles::Answered => answer(server, envelope, payload),
                Bubbles::Ignored => None,
            };
            if let Some((origin, bubble)) = answer {
                // Not sent is lost; the relay asks again.
                let _ = socket.send(envelope.to, origin, &bubble);
            } else {
                lock(&inbox).push(Arrival {
                    client: client_of(socket.port(), envelope.to),
                    from: envelope.from,
                    tos: envelope.tos,
                    payload: payload.to_vec(),
                });
            }
        });
        Ok(Self {
            server,
            count,
            sockets,
            arrivals,
            _service: service,
        })
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// IPv4 address and port of client `i`.
    ///
    /// # Panics
    /// If there is no client `i`.
    pub fn mapped(&self, i: usize) -> Mapped {
        assert!(i < self.count, "no client {i}");
        let offset = u32::try_from(i % ADDRESSES).expect("less than 128");
        Mapped {
            ip: Ipv4Addr::from_bits(Lab::BENCH_POOL.to_bits() + offset),
            port: FIRST_PORT + u16::try_from(i / ADDRESSES).expect("the count was checked"),
        }
    }

    /// Teredo address of client `i`.
    ///
    /// # Panics
    /// If there is no client `i`.
    pub fn address(&self, i: usize) -> TeredoAddr {
        TeredoAddr::new(ServerV4(self.server), 0, self.mapped(i))
    }

    /// [`Clients::address`] as an IPv6 address.
    ///
    /// # Panics
    /// If there is no client `i`.
    pub fn ipv6(&self, i: usize) -> Ipv6Addr {
        self.address(i).into()
    }

    /// Sends a datagram from client `i`.
    ///
    /// # Errors
    /// The kernel refuses it.
    ///
    /// # Panics
    /// If there is no client `i`.
    pub fn send(&self, i: usize, to: SocketAddrV4, payload: &[u8]) -> Result<()> {
        let from = self.mapped(i);
        self.sockets[i / ADDRESSES]
            .send(from.ip, to, payload)
            .with_context(|| format!("client {i} at {from} to {to}"))
    }

    /// Number of arrivals not taken yet.
    pub fn waiting(&self) -> usize {
        lock(&self.arrivals).len()
    }

    /// Takes all arrivals, in order for each port.
    pub fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut lock(&self.arrivals))
    }
}

fn bind(bench: &Node, nth: usize) -> Result<ManyAddresses> {
    let port = FIRST_PORT + u16::try_from(nth)?;
    ManyAddresses::bind(bench, port).with_context(|| format!("{}: port {port}", bench.name()))
}

fn client_of(port: u16, address: Ipv4Addr) -> usize {
    let offset = address.to_bits().wrapping_sub(Lab::BENCH_POOL.to_bits());
    usize::from(port - FIRST_PORT) * ADDRESSES + offset as usize % ADDRESSES
}

/// The direct bubble that answers an indirect one, and where it goes (C-33, RFC 6081 5.2.4).
fn answer(
    server: Ipv4Addr,
    envelope: Envelope,
    datagram: &[u8],
) -> Option<(SocketAddrV4, Vec<u8>)> {
    if envelope.from != SocketAddrV4::new(server, SERVER_PORT) {
        return None;
    }
    let parsed = payload::parse(datagram).ok()?;
    let origin = parsed.origin.filter(|_| parsed.header.is_bubble())?;
    let trailers = Trailers {
        nonce: Trailers::parse(parsed.tail).ok()?.nonce,
        ..Trailers::default()
    };
    let bubble = bubble::build(parsed.header.destination, parsed.header.source, &trailers);
    Some((origin.mapped.into(), bubble))
}

fn lock(arrivals: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}
