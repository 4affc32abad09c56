//! Who lives where, before anything happens.

use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::net::{Ipv4Addr, Ipv6Addr};

use teredo::Instant;
use teredo::addr::{Mapped, ServerV4};

use super::event::Event;
use super::{ClientNode, RelaySlot, World};
use crate::check::Observer;
use crate::client::ScriptedClient;
use crate::nat::Nat;
use crate::net::Weather;
use crate::plan::{FALLS_SILENT_WITHIN, Plan};
use crate::relay::{RelayNode, Setup};
use crate::server::PlainServer;

const fn server_ip(i: usize) -> Ipv4Addr {
    #[allow(clippy::cast_possible_truncation)] // A handful.
    Ipv4Addr::new(192, 0, 2, 1 + 2 * i as u8)
}

impl World {
    /// The world of `plan`, with relays `relay` makes.
    pub fn new(plan: &Plan, relay: &dyn Fn(Setup) -> Box<dyn RelayNode>) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0x5eed);
        let relays = (0..plan.relays)
            .map(|i| {
                #[allow(clippy::cast_possible_truncation)] // A handful.
                let nth = i as u8;
                let setup = Setup {
                    service: Mapped {
                        ip: Ipv4Addr::new(203, 0, 113, 10 + nth),
                        port: 3545,
                    },
                    native: Ipv6Addr::new(0x2001, 0xdb8, 0xaa, nth.into(), 0, 0, 0, 1),
                    limits: plan.limits,
                    table: plan.table,
                    seed: rng.u64(..),
                };
                RelaySlot {
                    node: relay(setup),
                    setup,
                    wake: None,
                }
            })
            .collect();
        let servers = (0..plan.servers).map(|i| PlainServer {
            primary: server_ip(i),
        });
        let clients = plan.clients.iter().zip(1_u8..).map(|(client, nth)| {
            let local = Mapped {
                ip: Ipv4Addr::new(10, 0, nth, 2),
                port: rng.u16(2048..),
            };
            // A customer's own box has an address of RFC 6598 outside.
            let ip = match client.carrier {
                Some(_) => Ipv4Addr::new(100, 64, 0, nth),
                None => Ipv4Addr::new(198, 51, 100, nth),
            };
            let mut nat = Nat::new(
                client.nat,
                ip,
                client.hairpin,
                client.nat_timeout,
                rng.u64(..),
            );
            nat.forward(local);
            let server = ServerV4(server_ip(client.server));
            let start = Instant::from_nanos(rng.u64(..1_000_000_000));
            let scripted = ScriptedClient::new(server, client.repeats_nonces, start, rng.u64(..));
            ClientNode {
                client: Box::new(scripted),
                nat,
                carrier: client.carrier,
                local,
                wake: None,
            }
        });
        let clients = clients.collect();
        let carriers = plan.carriers.iter().zip(100_u8..).map(|(carrier, nth)| {
            let ip = Ipv4Addr::new(198, 51, 100, nth);
            let (hairpin, timeout) = (carrier.hairpin, carrier.nat_timeout);
            Nat::new(carrier.nat, ip, hairpin, timeout, rng.u64(..))
        });
        let observer = Observer::new(
            plan.relays,
            plan.limits,
            plan.table,
            plan.strict_from(),
            plan.flows_end() + FALLS_SILENT_WITHIN,
        );
        let mut world = Self {
            now: Instant::default(),
            queue: BTreeMap::new(),
            queued: 0,
            weather: Weather::default(),
            cut_off: None,
            relays,
            servers: servers.collect(),
            clients,
            carriers: carriers.collect(),
            nearest: (0..plan.hosts).map(|i| i % plan.relays).collect(),
            sent: vec![0; plan.flows.len()],
            moved: 0,
            forged: 0,
            observer,
            trace: DefaultHasher::new(),
            events: 0,
            plan: plan.clone(),
            rng,
        };
        for (i, flow) in plan.flows.iter().enumerate() {
            world.at(Instant::default() + flow.start, Event::Flow(i));
        }
        for i in 0..world.clients.len() {
            world.wake_client(i);
        }
        world.plan_faults();
        world
    }
}
