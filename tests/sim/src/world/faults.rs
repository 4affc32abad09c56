//! What goes wrong, when, and what it does.

use std::net::Ipv4Addr;
use std::time::Duration;

use teredo::Instant;
use teredo::addr::TeredoAddr;

use super::event::{Event, Happening};
use super::{World, host_ip};
use crate::attack;
use crate::nat::Nat;
use crate::net::{Output, Weather};
use crate::packet::{ATTACK, Tag};
use crate::plan::{CALM_AT, FAULTS_FROM, Fault};

impl World {
    pub(super) fn plan_faults(&mut self) {
        for fault in self.plan.faults.clone() {
            let times = match fault {
                Fault::Attack if self.plan.is_flooded() => 2000,
                Fault::Attack => 40,
                _ => 2,
            };
            if matches!(fault, Fault::Loss | Fault::Doubling | Fault::Jitter) {
                self.happens(FAULTS_FROM, Happening::WeatherBegins);
                self.happens(CALM_AT, Happening::WeatherEnds);
                continue;
            }
            for _ in 0..times {
                let window = FAULTS_FROM.as_secs()..CALM_AT.as_secs();
                let at = Duration::from_secs(self.rng.u64(window))
                    + Duration::from_millis(self.rng.u64(..999));
                let client = self.rng.usize(..self.clients.len());
                let relay = self.rng.usize(..self.relays.len());
                let what = match fault {
                    Fault::Outage => {
                        self.happens(
                            CALM_AT.min(at + Duration::from_secs(9)),
                            Happening::Reconnected,
                        );
                        Happening::CutOff(self.rng.usize(..self.relays.len() + self.servers.len()))
                    }
                    Fault::NatReboot => Happening::NatReboots(client),
                    Fault::NatMove => Happening::NatMoves(client),
                    Fault::RelayRestart => Happening::RelayRestarts {
                        relay,
                        keeps_table: false,
                    },
                    Fault::RelayReload => Happening::RelayRestarts {
                        relay,
                        keeps_table: true,
                    },
                    Fault::RouteFlap => Happening::RouteFlaps(self.rng.usize(..self.nearest.len())),
                    _ => Happening::Attack,
                };
                self.happens(at, what);
            }
        }
    }

    fn happens(&mut self, at: Duration, what: Happening) {
        self.at(Instant::default() + at, Event::Happens(what));
    }

    pub(super) fn take_place(&mut self, what: Happening) {
        match what {
            Happening::WeatherBegins => {
                let has = |fault| u16::from(self.plan.has(fault));
                self.weather = Weather {
                    lost_per_mille: 200 * has(Fault::Loss),
                    doubled_per_mille: 100 * has(Fault::Doubling),
                    jitter: Duration::from_millis(300) * has(Fault::Jitter).into(),
                };
            }
            Happening::WeatherEnds => self.weather = Weather::default(),
            Happening::CutOff(i) => {
                let relay = self.relays.get(i).map(|relay| relay.setup.service.ip);
                let server = |i: usize| self.servers[i - self.relays.len()].primary;
                self.cut_off = Some(relay.unwrap_or_else(|| server(i)));
            }
            Happening::Reconnected => self.cut_off = None,
            Happening::NatReboots(i) => self.outer_nat(i).reboot(),
            Happening::NatMoves(i) => {
                self.moved += 1;
                let ip = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + self.moved);
                self.outer_nat(i).move_to(ip);
            }
            Happening::RelayRestarts { relay, keeps_table } => {
                self.relays[relay].node.restart(keeps_table);
                self.observer.relay_restarts(relay, keeps_table);
                self.wake_relay(relay);
            }
            Happening::RouteFlaps(host) => {
                self.nearest[host] = (self.nearest[host] + 1) % self.relays.len();
            }
            Happening::Attack => {
                let relay = self.rng.usize(..self.relays.len());
                let service = self.relays[relay].setup.service;
                let known = self.clients.iter().filter_map(|node| node.client.address());
                let victims: Vec<TeredoAddr> = known.collect();
                self.forged += 1;
                let tag = Tag {
                    flow: ATTACK,
                    seq: self.forged,
                };
                self.observer.begins(self.now, tag);
                let attack = if self.plan.is_flooded() && self.rng.u8(..4) > 0 {
                    attack::scan(&mut self.rng, self.servers[0].primary, tag)
                } else {
                    attack::forge(&mut self.rng, service, &victims, host_ip(0), tag)
                };
                match attack {
                    Output::V4 { from, to, payload } => self.launch_v4(from, to, payload),
                    Output::V6(packet) => self.launch_v6(packet),
                }
            }
        }
    }

    /// Of the NATs in front of client `i`, the one the internet sees.
    fn outer_nat(&mut self, i: usize) -> &mut Nat {
        match self.clients[i].carrier {
            Some(carrier) => &mut self.carriers[carrier],
            None => &mut self.clients[i].nat,
        }
    }
}
