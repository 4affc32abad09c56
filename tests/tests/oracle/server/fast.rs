//! The shipped program, loaded with a server.

use std::net::Ipv4Addr;

use relay_common::Reason;
use relay_user::datapath::{ServerLimits, ServerRole};
use teredo::addr::Mapped;
use teredo::relay::Ipv4Net;

use super::case::{Program, RELAY_PORT};
use crate::case::Port;
use crate::counted::Counted;
use crate::reference::server::addresses_in;
use crate::rig::{Rig, Settings};

/// A loaded program.
pub(crate) struct Fast(Counted);

impl Fast {
    pub(crate) fn load(program: Program) -> Self {
        let rules = program.rules();
        let nets = rules.opened.iter().map(|(prefix, len)| {
            let len = u8::try_from(*len).expect("at most 32");
            Ipv4Net::new(Ipv4Addr::from(*prefix), len).expect("at most 32")
        });
        // What flows in fills no bucket of a scarce server while a case lasts, and no other is ever empty.
        let per_s = |burst| if burst < 10 { 1 } else { burst };
        let (source_burst, target_burst) = (rules.bursts.source, rules.bursts.target);
        let mut rig = Rig::load(&Settings {
            service: Mapped {
                ip: rules.primary.into(),
                port: RELAY_PORT,
            },
            has_relay: program.has_relay(),
            server: Some(ServerRole {
                primary: rules.primary.into(),
                secondary: rules.secondary.into(),
                require_credentials: rules.requires_credentials,
                allow_non_global: nets.collect(),
                limits: ServerLimits {
                    source_per_s: per_s(source_burst),
                    source_burst,
                    target_per_s: per_s(target_burst),
                    target_burst,
                },
            }),
            ..Settings::default()
        });
        if program == Program::Open {
            rig.keep_plain_hops();
        }
        Self(Counted::new(rig))
    }

    /// Fills the buckets of everybody `frames` speak of.
    pub(crate) fn fill_buckets<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>) {
        for frame in frames {
            for address in addresses_in(frame) {
                self.0.rig.fill_buckets(address.into());
            }
        }
    }

    /// Runs the program. `guesses` are reasons to look for first. Gives the action and the reason.
    pub(crate) fn run(&mut self, port: Port, frame: &[u8], guesses: &[&str]) -> (u32, Reason) {
        let ifindex = match port {
            Port::Wan => self.0.rig.wan,
            Port::Lan => self.0.rig.lan,
        };
        self.0.run(ifindex, frame, guesses)
    }

    /// The last frame as it came out.
    pub(crate) fn out(&self) -> &[u8] {
        &self.0.out
    }

    /// Bytes counted for it.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// See [`Counted::settle`].
    pub(crate) fn settle(&mut self) {
        self.0.settle();
    }
}
