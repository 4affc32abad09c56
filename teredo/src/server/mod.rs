//! The server as a function without I/O (rules S-1 to S-23).
//!
//! ```text
//! receive ──► Server ──► Fate, at most one Command
//!               └── now, seed: arguments
//! ```
//!
//! It keeps nothing of its clients but how many packets an address caused or got lately (S-17). It sends no errors: whatever
//! it does not answer or forward it drops in silence (S-16).

mod command;
mod config;
mod credentials;
mod disposition;
mod qualification;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

pub use command::{Command, Local};
pub use config::{Config, Limits};
pub use credentials::{AUTH_VALUE_LEN, CLIENT_ID_MAX_LEN, CredentialError, Credentials, KeyState};

use crate::addr::{Mapped, SERVER_PORT, ServerV4};
use crate::shared::hosts::Hosts;
use crate::shared::keyed::Keyed;
use crate::shared::limits::{Bucket, Buckets, Rate};
use crate::shared::seed::derive;
use crate::wire::payload;
use crate::wire::rs_ra::{self, AdvertisementTemplate};
use crate::{Fate, Instant, Tally};

/// MTU clients are told (RFC 4380 5.1.2).
pub const TUNNEL_MTU: u32 = 1280;

/// Buckets for which memory stays when a burst is over.
const KEPT_PLACES: usize = 4096;

/// Bytes of output for which memory stays.
const KEPT_BYTES: usize = 2048;

/// A Teredo server (RFC 4380 5.3).
///
/// Feed it with [`receive`](Self::receive) and carry out what that returns. `now` never goes back.
pub struct Server {
    config: Config,
    hosts: Hosts,
    /// The server's own link-local address (RFC 4380 5.3.2).
    link_local: [u8; 16],
    advertisement: AdvertisementTemplate,
    sources: Buckets<Ipv4Addr>,
    targets: Buckets<Ipv4Addr>,
    native: Bucket,
    /// Bytes of the last command.
    out: Vec<u8>,
    tally: Tally,
}

/// A [`Command`] without its bytes.
#[derive(Clone, Copy)]
enum Order {
    Advertise { from: Local },
    ToClient { to: Mapped },
    ToNative,
}

/// The server's state in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Outer sources whose token bucket is not full (S-17).
    pub source_buckets: usize,
    /// Targets whose token bucket is not full (S-17).
    pub target_buckets: usize,
}

impl Server {
    /// A server. `seed` comes from the system's random source and must be new at each start: it keys the places in memory of
    /// what comes from packets.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let limits = &config.limits;
        let capacity = usize::try_from(limits.tracked_addresses).unwrap_or(usize::MAX);
        let keyed = |purpose: &[u8]| Keyed::new(derive(seed, purpose));
        let buckets = |rate, purpose| Buckets::new(rate, capacity, keyed(purpose));
        let primary = ServerV4(config.primary);
        Self {
            hosts: Hosts::new(
                [config.primary, config.secondary].into(),
                config.allow_non_global.clone(),
            ),
            link_local: rs_ra::server_link_local(primary),
            advertisement: AdvertisementTemplate::new(primary, TUNNEL_MTU),
            sources: buckets(
                Rate::per_second(limits.source_per_s, limits.source_burst),
                b"sources",
            ),
            targets: buckets(
                Rate::per_second(limits.target_per_s, limits.target_burst),
                b"targets",
            ),
            native: Bucket::new(Rate::per_second(limits.native_per_s, limits.native_burst)),
            out: Vec::new(),
            tally: Tally::default(),
            config,
        }
    }

    /// Tells the server this machine's IPv4 addresses, and the broadcast addresses of its subnets. Nothing is forwarded
    /// to any of them (S-8, S-15). The server's own two are known already.
    pub fn set_own_ipv4(&mut self, own: &[Ipv4Addr], broadcasts: &[Ipv4Addr]) {
        self.hosts.set_own(own, broadcasts);
    }

    /// Takes a datagram received `at` one of the server's addresses from `source`, and says what became of it and what is to
    /// be sent.
    pub fn receive(
        &mut self,
        now: Instant,
        at: Local,
        source: SocketAddrV4,
        payload: &[u8],
    ) -> (Fate, Option<Command<'_>>) {
        self.out.clear();
        let outer = Mapped::from(source);
        let parsed = match self.judge_outer(outer) {
            Ok(()) => payload::parse(payload),
            Err(fate) => Err(fate),
        };
        let (bytes, judged) = match parsed {
            Err(fate) => (payload.len(), Err(fate)),
            Ok(parsed) => (parsed.packet.len(), self.dispose(now, at, outer, &parsed)),
        };
        let (fate, order) = match judged {
            Err(fate) => (fate, None),
            Ok(order) => (order.fate(), Some(order)),
        };
        self.tally.add(fate, bytes);
        (fate, order.map(|order| self.command(outer, order)))
    }

    /// What became of every packet so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The server's state in figures.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            source_buckets: self.sources.len(),
            target_buckets: self.targets.len(),
        }
    }

    /// Gives memory of a burst back once the burst is over, and says whether there was any. To be called now and then: what
    /// a small server uses stays.
    pub fn give_back_memory(&mut self, now: Instant) -> bool {
        let had = self.out.capacity();
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        (self.out.capacity() < had)
            | self.sources.give_back(now, KEPT_PLACES)
            | self.targets.give_back(now, KEPT_PLACES)
    }

    /// S-4 and S-8: where the datagram comes from.
    fn judge_outer(&self, outer: Mapped) -> Result<(), Fate> {
        if outer.port == 0 {
            return Err(Fate::OuterSourcePortZero);
        }
        if !self.hosts.is_global(outer.ip) {
            return Err(Fate::OuterSourceNotGlobal);
        }
        if outer.port == SERVER_PORT
            && [self.config.primary, self.config.secondary].contains(&outer.ip)
        {
            return Err(Fate::OuterSourceOwn);
        }
        Ok(())
    }

    fn command(&self, outer: Mapped, order: Order) -> Command<'_> {
        let (from, to) = match order {
            Order::ToNative => return Command::Forward { packet: &self.out },
            Order::Advertise { from } => (from, outer),
            Order::ToClient { to } => (Local::Primary, to),
        };
        Command::SendUdp {
            from,
            to,
            payload: &self.out,
        }
    }
}

impl Order {
    const fn fate(self) -> Fate {
        match self {
            Self::Advertise { .. } => Fate::Advertised,
            Self::ToClient { .. } => Fate::ForwardedToClient,
            Self::ToNative => Fate::ForwardedToNative,
        }
    }
}
