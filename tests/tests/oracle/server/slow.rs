//! The userspace server, given what the kernel would give its sockets.

use std::net::{Ipv4Addr, SocketAddrV4};

use relay_common::Reason;
use teredo::server::{Command, Config, Credentials, KeyState, Limits, Local, Server};
use teredo::{Instant, Ipv4Net};

use crate::reference::server::{CREDENTIALS, Leaving, Rules};

/// Nothing flows into a bucket while a case lasts: it is always now.
const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

/// A server without a past.
pub(crate) struct Slow {
    server: Server,
    primary: u32,
    secondary: u32,
    fed: u64,
}

impl Slow {
    pub(crate) fn new(rules: &Rules) -> Self {
        let mut credentials = Credentials::default();
        for (id, secret, is_old) in CREDENTIALS {
            let state = if is_old {
                KeyState::Retired
            } else {
                KeyState::Current
            };
            credentials.insert(id, secret, state).expect("credentials");
        }
        let nets = rules.opened.iter().map(|(prefix, len)| {
            let len = u8::try_from(*len).expect("at most 32");
            Ipv4Net::new(Ipv4Addr::from(*prefix), len).expect("at most 32")
        });
        let bursts = rules.bursts;
        let mut server = Server::new(
            Config {
                secondary: rules.secondary.into(),
                allow_non_global: nets.collect(),
                credentials,
                require_credentials: rules.requires_credentials,
                limits: Limits {
                    source_per_s: 1,
                    source_burst: bursts.source,
                    target_per_s: 1,
                    target_burst: bursts.target,
                    native_per_s: 1,
                    native_burst: bursts.native,
                    ..Limits::default()
                },
                ..Config::new(rules.primary.into())
            },
            [7; 32],
        );
        let addresses = |of: &[u32]| of.iter().map(|ip| Ipv4Addr::from(*ip)).collect::<Vec<_>>();
        server.set_own_ipv4(&addresses(&rules.own), &addresses(&rules.broadcasts));
        Self {
            server,
            primary: rules.primary,
            secondary: rules.secondary,
            fed: 0,
        }
    }

    /// Takes a datagram that came to the address `at`.
    pub(crate) fn take(
        &mut self,
        at: u32,
        from: (u32, u16),
        payload: &[u8],
    ) -> (&'static str, Option<Leaving>) {
        self.fed += 1;
        let local = if at == self.primary {
            Local::Primary
        } else {
            Local::Secondary
        };
        let source = SocketAddrV4::new(from.0.into(), from.1);
        let (fate, command) = self.server.receive(NOW, local, source, payload);
        let leaving = command.map(|command| match command {
            Command::SendUdp { from, to, payload } => Leaving::Datagram {
                from: match from {
                    Local::Primary => self.primary,
                    Local::Secondary => self.secondary,
                },
                to: (to.ip.into(), to.port),
                payload: payload.to_vec(),
            },
            Command::Forward { packet } => Leaving::Native(packet.to_vec()),
        });
        (Reason::from(fate).as_str(), leaving)
    }

    /// Invariant 4.
    pub(crate) fn adds_up(&self) -> bool {
        self.server.tally().total().packets == self.fed
    }

    /// Bytes counted so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.server.tally().total().bytes
    }
}
