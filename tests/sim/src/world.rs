//! The event loop: who is where, and what happens next.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use teredo::Instant;
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::icmp6::{Echo, EchoKind};
use teredo::wire::ipv6;

use crate::attack;
use crate::check::{Figures, Observer, Violation};
use crate::client::{ClientOutput, ScriptedClient, TeredoClient};
use crate::nat::Nat;
use crate::net::{Crossing, Output, Weather, delay};
use crate::packet::{self, ATTACK, Tag};
use crate::plan::{CALM_AT, End, FALLS_SILENT_WITHIN, FAULTS_FROM, Fault, Plan};
use crate::relay::{RelayNode, Setup};
use crate::server::{PlainServer, TeredoServer};

/// Something that will happen.
#[derive(Clone, Debug, Hash)]
enum Event {
    V4 {
        from: Mapped,
        to: Mapped,
        payload: Vec<u8>,
    },
    V6(Vec<u8>),
    WakeRelay(usize),
    WakeClient(usize),
    Flow(usize),
    Happens(Happening),
}

/// Something from outside.
#[derive(Clone, Copy, Debug, Hash)]
enum Happening {
    WeatherEnds,
    WeatherBegins,
    CutOff(usize),
    Reconnected,
    NatReboots(usize),
    NatMoves(usize),
    RelayRestarts { relay: usize, keeps_table: bool },
    RouteFlaps(usize),
    Attack,
}

struct ClientNode {
    client: Box<dyn TeredoClient>,
    nat: Nat,
    local: Mapped,
    wake: Option<Instant>,
}

struct RelaySlot {
    node: Box<dyn RelayNode>,
    setup: Setup,
    wake: Option<Instant>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Hash over every event with its time.
    pub trace: u64,
    /// Events.
    pub events: u64,
    /// Properties that do not hold.
    pub violations: Vec<Violation>,
    /// Figures.
    pub figures: Figures,
}

/// A small internet.
pub struct World {
    plan: Plan,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    queued: u64,
    rng: fastrand::Rng,
    weather: Weather,
    cut_off: Option<Ipv4Addr>,
    relays: Vec<RelaySlot>,
    servers: Vec<PlainServer>,
    clients: Vec<ClientNode>,
    /// The relay nearest to each host.
    nearest: Vec<usize>,
    sent: Vec<u32>,
    moved: u32,
    forged: u32,
    observer: Observer,
    trace: DefaultHasher,
    events: u64,
}

/// Events of the longest run: more is a loop no packet's count shows.
const EVENTS_MAX: u64 = 1_000_000;

const fn server_ip(i: usize) -> Ipv4Addr {
    #[allow(clippy::cast_possible_truncation)] // A handful.
    Ipv4Addr::new(192, 0, 2, 1 + 2 * i as u8)
}

const fn host_ip(i: usize) -> Ipv6Addr {
    #[allow(clippy::cast_possible_truncation)] // A handful.
    Ipv6Addr::new(0x2001, 0xdb8, 0x80, i as u16, 0, 0, 0, 0x80)
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
            let ip = Ipv4Addr::new(198, 51, 100, nth);
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
                local,
                wake: None,
            }
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
            clients: clients.collect(),
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

    fn at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.insert((at, self.queued), event);
    }

    fn plan_faults(&mut self) {
        for fault in self.plan.faults.clone() {
            let times = if fault == Fault::Attack { 40 } else { 2 };
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

    /// Runs to the end.
    pub fn run(mut self) -> Outcome {
        let end = self.plan.flows_end() + FALLS_SILENT_WITHIN + Duration::from_secs(30);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > end || self.events >= EVENTS_MAX {
                break;
            }
            self.now = at;
            self.events += 1;
            (at, &event).hash(&mut self.trace);
            if self.plan.prints {
                println!(
                    "{:12.6} {event:?}",
                    Duration::from_nanos(at.as_nanos()).as_secs_f64()
                );
            }
            self.turn(event);
        }
        let (mut violations, figures) = self.observer.finish(Instant::default() + CALM_AT);
        if self.events >= EVENTS_MAX {
            violations.push(Violation::NotSilent);
        }
        Outcome {
            trace: self.trace.finish(),
            events: self.events,
            violations,
            figures,
        }
    }

    fn turn(&mut self, event: Event) {
        match event {
            Event::V4 { from, to, payload } => self.v4_arrives(from, to, &payload),
            Event::V6(packet) => self.v6_arrives(&packet),
            Event::WakeRelay(i) => {
                self.relays[i].wake = None;
                let due = self.relays[i].node.poll_timeout();
                if due.is_some_and(|due| due <= self.now) {
                    self.relay(i, |relay, now, out| relay.handle_timeout(now, out));
                } else {
                    self.wake_relay(i);
                }
            }
            Event::WakeClient(i) => {
                self.clients[i].wake = None;
                self.client(i, |client, now, out| client.handle_timeout(now, out));
            }
            Event::Flow(i) => self.flow_sends(i),
            Event::Happens(what) => self.take_place(what),
        }
    }

    fn take_place(&mut self, what: Happening) {
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
            Happening::NatReboots(i) => self.clients[i].nat.reboot(),
            Happening::NatMoves(i) => {
                self.moved += 1;
                let ip = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + self.moved);
                self.clients[i].nat.move_to(ip);
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
                match attack::forge(&mut self.rng, service, &victims, host_ip(0), tag) {
                    Output::V4 { from, to, payload } => self.launch_v4(from, to, payload),
                    Output::V6(packet) => self.launch_v6(packet),
                }
            }
        }
    }

    /// The present address of an end; `None` while a client has none.
    fn address(&self, end: End) -> Option<[u8; 16]> {
        match end {
            End::Host(i) => Some(host_ip(i).octets()),
            End::Client(i) => self.clients[i].client.address().map(|a| a.octets()),
        }
    }

    fn flow_sends(&mut self, i: usize) {
        if self.now >= self.plan.flows_end() {
            return;
        }
        let flow = self.plan.flows[i];
        let seq = self.sent[i];
        if let (Some(from), Some(to)) = (self.address(flow.from), self.address(flow.to)) {
            #[allow(clippy::cast_possible_truncation)] // A handful.
            let tag = Tag {
                flow: i as u32,
                seq,
            };
            self.sent[i] += 1;
            self.observer.begins(self.now, tag);
            let packet = packet::build(from, to, tag);
            match flow.from {
                End::Host(_) => self.launch_v6(packet),
                End::Client(i) => self.client(i, |client, now, out| client.send(now, &packet, out)),
            }
        }
        let next = self.plan.next_send(&flow, self.now, seq);
        self.at(next, Event::Flow(i));
    }

    fn launch_v4(&mut self, from: Mapped, to: Mapped, payload: Vec<u8>) {
        let pause = delay(
            self.plan.seed,
            from.ip.to_bits().into(),
            to.ip.to_bits().into(),
        );
        let inner = teredo::wire::payload::parse(&payload).ok();
        let tag = inner.and_then(|inner| packet::tag(inner.packet));
        self.launch(pause, tag, Event::V4 { from, to, payload });
    }

    /// Native routing: one hop less, over a path that depends on both ends alone.
    fn launch_v6(&mut self, mut packet: Vec<u8>) {
        let Ok((header, ..)) = ipv6::parse(&packet) else {
            return;
        };
        if header.hop_limit <= 1 {
            return;
        }
        let place = |addr: &[u8; 16]| u64::from(addr[15]) ^ u64::from(addr[7]) << 32;
        let pause = delay(
            self.plan.seed,
            place(&header.source),
            place(&header.destination),
        );
        let tag = packet::tag(&packet);
        packet[7] -= 1;
        self.launch(pause, tag, Event::V6(packet));
    }

    fn launch(&mut self, pause: Duration, tag: Option<Tag>, event: Event) {
        let crossing = self.weather.cross(&mut self.rng);
        let doubled = matches!(crossing, Crossing::Twice(..));
        if let Some(tag) = tag {
            self.observer.crosses(tag, doubled);
        }
        let arrival = self.now + pause;
        match crossing {
            Crossing::Lost => {}
            Crossing::Once(late) => self.at(arrival + late, event),
            Crossing::Twice(first, second) => {
                self.at(arrival + first, event.clone());
                self.at(arrival + second, event);
            }
        }
    }

    fn v4_arrives(&mut self, from: Mapped, to: Mapped, payload: &[u8]) {
        if self.cut_off == Some(to.ip) || self.cut_off == Some(from.ip) {
            return;
        }
        let relay = self
            .relays
            .iter()
            .position(|relay| relay.setup.service == to);
        if let Some(i) = relay {
            self.observer.relay_hears(i, from, payload);
            return self.relay(i, |relay, now, out| {
                relay.from_client(now, from, payload, out);
            });
        }
        let is_server = |server: &&mut PlainServer| {
            to.port == SERVER_PORT && (to.ip == server.primary || to.ip == server.secondary())
        };
        if let Some(server) = self.servers.iter_mut().find(is_server) {
            let mut out = Vec::new();
            server.receive(to.ip, from, payload, &mut out);
            for output in out {
                match output {
                    Output::V4 { from, to, payload } => {
                        self.observer.sends_to(to.ip);
                        self.launch_v4(from, to, payload);
                    }
                    Output::V6(packet) => self.launch_v6(packet),
                }
            }
            return;
        }
        let Some(i) = self.clients.iter().position(|node| node.nat.ip() == to.ip) else {
            return;
        };
        if self.clients[i]
            .nat
            .inbound(self.now, from, to.port)
            .is_some()
        {
            self.client(i, |client, now, out| {
                client.receive(now, from, payload, out);
            });
        }
    }

    fn v6_arrives(&mut self, packet: &[u8]) {
        let Ok((header, body, _)) = ipv6::parse(packet) else {
            return;
        };
        let host =
            |addr: &[u8; 16]| (0..self.nearest.len()).find(|i| host_ip(*i).octets() == *addr);
        if TeredoAddr::is_teredo(&header.destination) {
            // From elsewhere than a host: the relay is one the region of the source has.
            let region = usize::from(header.source[15] ^ header.source[7]);
            let nearest = host(&header.source).map(|i| self.nearest[i]);
            let i = nearest.unwrap_or(region % self.relays.len());
            return self.relay(i, |relay, now, out| relay.from_native(now, packet, out));
        }
        if host(&header.destination).is_none() {
            return;
        }
        if let Some(tag) = packet::tag(packet) {
            self.observer.arrives(tag);
        }
        let request = Echo::parse(header, body).filter(|echo| echo.kind == EchoKind::Request);
        let reply = request.and_then(|request| {
            let reply = Echo {
                kind: EchoKind::Reply,
                ..request
            };
            reply.build(header.destination, header.source, 64)
        });
        if let Some(reply) = reply {
            self.launch_v6(reply);
        }
    }

    fn relay(&mut self, i: usize, act: impl FnOnce(&mut dyn RelayNode, Instant, &mut Vec<Output>)) {
        let mut out = Vec::new();
        let now = self.now;
        act(self.relays[i].node.as_mut(), now, &mut out);
        let held = self.relays[i].node.held();
        self.observer.relay_holds(i, held);
        for output in out {
            self.observer.relay_sends(now, i, &output);
            match output {
                Output::V4 { from, to, payload } => self.launch_v4(from, to, payload),
                Output::V6(packet) => self.launch_v6(packet),
            }
        }
        self.wake_relay(i);
    }

    fn wake_relay(&mut self, i: usize) {
        let relay = &mut self.relays[i];
        let due = relay.node.poll_timeout().map(|at| at.max(self.now));
        if let Some(due) = due.filter(|due| relay.wake.is_none_or(|wake| *due < wake)) {
            relay.wake = Some(due);
            self.at(due, Event::WakeRelay(i));
        }
    }

    fn client(
        &mut self,
        i: usize,
        act: impl FnOnce(&mut dyn TeredoClient, Instant, &mut ClientOutput),
    ) {
        let mut out = ClientOutput::default();
        let now = self.now;
        let node = &mut self.clients[i];
        act(node.client.as_mut(), now, &mut out);
        for packet in out.delivered {
            if let Some(tag) = packet::tag(&packet) {
                self.observer.arrives(tag);
            }
        }
        for (to, payload) in out.datagrams {
            self.observer.sends_to(to.ip);
            let node = &mut self.clients[i];
            if let Some(from) = node.nat.outbound(now, node.local, to) {
                self.launch_v4(from, to, payload);
            }
        }
        self.wake_client(i);
    }

    fn wake_client(&mut self, i: usize) {
        let node = &mut self.clients[i];
        let due = node.client.poll_timeout().map(|at| at.max(self.now));
        if let Some(due) = due.filter(|due| node.wake.is_none_or(|wake| *due < wake)) {
            node.wake = Some(due);
            self.at(due, Event::WakeClient(i));
        }
    }
}
