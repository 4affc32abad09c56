//! The server in user space: what reaches its two sockets, because there is no program in front of them or because
//! the program leaves it to them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use relay_common::{Counter, Reason};
use teredo::Fate;
use teredo::addr::SERVER_PORT;
use teredo::relay::UdpKind;
use teredo::server::{Command, Config, Local, Server};
use tracing::{debug, warn};

use super::clock;
use super::native::NativeSocket;
use super::poll::STOP_CHECK;
use super::send::SendBatch;
use super::shards::Broken;
use super::udp::{ReceiveBatch, ServiceSocket};

/// The server's state machine and sockets, shared by the threads that serve them.
pub struct ServerPath {
    server: Mutex<Server>,
    primary: ServiceSocket,
    secondary: ServiceSocket,
    native: NativeSocket,
    /// What the state machine counted as sent but the kernel refused.
    refused: Mutex<[Counter; Reason::COUNT]>,
}

/// Output of one turn.
#[derive(Default)]
struct Outbox {
    primary: SendBatch,
    secondary: SendBatch,
}

impl ServerPath {
    /// Binds the sockets of a server with `config`, unless one that was `handed_over` is bound to the address already; `seed`
    /// comes from the system's random source.
    ///
    /// # Errors
    /// The address that cannot be bound, or the missing right to raw sockets.
    pub fn open(
        config: Config,
        seed: [u8; 32],
        handed_over: Vec<OwnedFd>,
    ) -> Result<Self, Unbound> {
        let mut handed_over: Vec<ServiceSocket> = handed_over
            .into_iter()
            .map(ServiceSocket::handed_over)
            .collect();
        let mut bind = |ip| {
            let at = SocketAddrV4::new(ip, SERVER_PORT);
            let there =
                |socket: &ServiceSocket| socket.local_address().is_ok_and(|address| address == at);
            match handed_over.iter().position(there) {
                Some(place) => Ok(handed_over.swap_remove(place)),
                None => ServiceSocket::bind(at).map_err(|error| Unbound::Service { at, error }),
            }
        };
        Ok(Self {
            primary: bind(config.primary)?,
            secondary: bind(config.secondary)?,
            native: NativeSocket::open().map_err(Unbound::Native)?,
            server: Mutex::new(Server::new(config, seed)),
            refused: Mutex::new([Counter::default(); Reason::COUNT]),
        })
    }

    /// Serves one of the two sockets until `stop`.
    ///
    /// # Errors
    /// [`Broken`]: the server must end.
    pub fn serve(&self, at: Local, stop: &AtomicBool) -> Result<(), Broken> {
        let mut batch = ReceiveBatch::default();
        let mut out = Outbox::default();
        while !stop.load(Relaxed) {
            match self.socket(at).receive(&mut batch, STOP_CHECK) {
                Ok(0) => {
                    self.server.lock()?.give_back_memory(clock::now());
                }
                Ok(_) => self.turn(at, &batch, &mut out)?,
                Err(error) => {
                    // One that fails always must not spin.
                    warn!(%error, "server socket: receiving failed");
                    thread::sleep(STOP_CHECK);
                }
            }
        }
        Ok(())
    }

    fn turn(&self, at: Local, batch: &ReceiveBatch, out: &mut Outbox) -> Result<(), Broken> {
        let now = clock::now();
        let mut server = self.server.lock()?;
        for (source, _, payload) in batch.iter() {
            let (fate, command) = server.receive(now, at, source, payload);
            match command {
                None => {}
                Some(Command::SendUdp { from, to, payload }) => {
                    let batch = match from {
                        Local::Primary => &mut out.primary,
                        Local::Secondary => &mut out.secondary,
                    };
                    batch.push(to, 0, payload, kind_of(fate));
                }
                Some(Command::Forward { packet }) => {
                    if let Err(error) = self.native.send(packet) {
                        debug!(%error, "an echo to native IPv6 was not sent");
                        self.refuse(Reason::ForwardedToNative, packet.len());
                    }
                }
            }
        }
        drop(server);
        for (local, batch) in [
            (Local::Primary, &mut out.primary),
            (Local::Secondary, &mut out.secondary),
        ] {
            self.socket(local).send(batch, |datagram, error| {
                debug!(%error, to = %datagram.to.ip, "not sent");
                let reason = match datagram.kind {
                    UdpKind::Bubble => Reason::ForwardedToClient,
                    UdpKind::Data | UdpKind::Queued => Reason::Advertised,
                };
                self.refuse(reason, datagram.len);
            });
        }
        Ok(())
    }

    /// Its two sockets, for a successor.
    pub fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        [self.primary.as_fd(), self.secondary.as_fd()]
    }

    fn socket(&self, at: Local) -> &ServiceSocket {
        match at {
            Local::Primary => &self.primary,
            Local::Secondary => &self.secondary,
        }
    }

    fn refuse(&self, reason: Reason, bytes: usize) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = &mut refused[reason as usize];
        counter.packets += 1;
        counter.bytes += bytes as u64;
    }

    /// This machine's IPv4 addresses, and the broadcast addresses of its subnets.
    ///
    /// # Errors
    /// [`Broken`]: the server must end.
    pub fn set_own_ipv4(&self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) -> Result<(), Broken> {
        self.server.lock()?.set_own_ipv4(own, broadcasts);
        Ok(())
    }

    /// Adds what became of the packets to `counters`.
    ///
    /// # Errors
    /// [`Broken`]: the server is about to end.
    pub fn add_to(&self, counters: &mut [Counter; Reason::COUNT]) -> Result<(), Broken> {
        // First, so that whatever was refused is among what is counted below.
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        for (fate, tally) in self.server.lock()?.tally().iter() {
            let counter = &mut counters[Reason::from(fate) as usize];
            counter.packets += tally.packets;
            counter.bytes += tally.bytes;
        }
        for (at, refused) in refused.iter().enumerate() {
            counters[at].packets -= refused.packets;
            counters[at].bytes = counters[at].bytes.saturating_sub(refused.bytes);
            let failed = &mut counters[Reason::SendFailed as usize];
            failed.packets += refused.packets;
            failed.bytes += refused.bytes;
        }
        Ok(())
    }
}

/// Bubbles to one client are as long as each other and may leave together; advertisements differ.
fn kind_of(fate: Fate) -> UdpKind {
    match fate {
        Fate::ForwardedToClient => UdpKind::Bubble,
        _ => UdpKind::Data,
    }
}

/// Why a server's sockets could not be opened.
#[derive(Debug)]
pub enum Unbound {
    /// A service address.
    Service {
        /// Which.
        at: SocketAddrV4,
        /// The system's words.
        error: io::Error,
    },
    /// The socket to native IPv6.
    Native(io::Error),
}
