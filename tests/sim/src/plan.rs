//! What a seed decides: who lives in the world, who talks to whom, and what goes wrong when.

use std::time::Duration;

use teredo::Instant;
use teredo::relay::Limits;

use crate::nat::{Depends, NatKind};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Links lose packets.
    Loss,
    /// Links deliver packets twice.
    Doubling,
    /// Packets overtake each other.
    Jitter,
    /// A relay or a server is cut off for some seconds.
    Outage,
    /// A NAT forgets everything.
    NatReboot,
    /// A NAT gets another external address.
    NatMove,
    /// A relay starts anew with an empty table.
    RelayRestart,
    /// A relay starts anew over the table it had.
    RelayReload,
    /// Another relay becomes the nearest one of a host.
    RouteFlap,
    /// Attackers scan, forge and aim at addresses of all kinds. Hurts nobody else.
    Attack,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Loss,
        Self::Doubling,
        Self::Jitter,
        Self::Outage,
        Self::NatReboot,
        Self::NatMove,
        Self::RelayRestart,
        Self::RelayReload,
        Self::RouteFlap,
        Self::Attack,
    ];

    /// Whether it may cost packets of others.
    pub const fn disrupts(self) -> bool {
        !matches!(self, Self::Attack)
    }
}

/// One client and the box in front of it.
#[derive(Clone, Copy, Debug)]
pub struct ClientPlan {
    /// Kind of NAT.
    pub nat: NatKind,
    /// Which server.
    pub server: usize,
    /// Whether its answers repeat nonces (RFC 6081).
    pub repeats_nonces: bool,
    /// How long the NAT remembers.
    pub nat_timeout: Duration,
    /// Whether the NAT hairpins.
    pub hairpin: bool,
    /// The carrier whose NAT stands in front of it, if there is one.
    pub carrier: Option<usize>,
}

/// A carrier's NAT, which its customers share.
#[derive(Clone, Copy, Debug)]
pub struct CarrierPlan {
    /// Kind of NAT.
    pub nat: NatKind,
    /// How long it remembers.
    pub nat_timeout: Duration,
    /// Whether it hairpins.
    pub hairpin: bool,
}

/// Where a flow begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A native host.
    Host(usize),
    /// A client.
    Client(usize),
}

/// Packets one way.
#[derive(Clone, Copy, Debug)]
pub struct FlowPlan {
    /// Sender.
    pub from: End,
    /// Receiver.
    pub to: End,
    /// When the first packet leaves.
    pub start: Duration,
    /// Silence in the middle, after which the relay has forgotten the peer or not.
    pub pause: Duration,
}

/// A whole run. The same plan always gives the same trace.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of everything that is drawn while it runs.
    pub seed: u64,
    /// Relays.
    pub relays: usize,
    /// Servers.
    pub servers: usize,
    /// Native hosts.
    pub hosts: usize,
    /// Clients.
    pub clients: Vec<ClientPlan>,
    /// Carriers.
    pub carriers: Vec<CarrierPlan>,
    /// Flows.
    pub flows: Vec<FlowPlan>,
    /// What goes wrong between [`FAULTS_FROM`] and [`CALM_AT`].
    pub faults: Vec<Fault>,
    /// Bounds of the relays.
    pub limits: Limits,
    /// Peers the relays' tables have room for.
    pub table: usize,
    /// Prints every event.
    pub prints: bool,
}

/// Faults begin.
pub const FAULTS_FROM: Duration = Duration::from_secs(6);

/// Faults have ended.
pub const CALM_AT: Duration = Duration::from_mins(1);

/// Every fault heals within this time: four bubbles may have been spent on a client that was away, and no fifth
/// leaves before 300 s after the first; the rest is one round of bubbles and of solicitations.
pub const HEALS_WITHIN: Duration = Duration::from_secs(320);

/// How long traffic is judged strictly after that.
const JUDGED: Duration = Duration::from_secs(10);

/// After the last packet of the flows the relays fall silent within this time: the rest of a round of bubbles.
pub const FALLS_SILENT_WITHIN: Duration = Duration::from_secs(30);

impl Plan {
    /// The plan of a seed. One in four has no fault that disrupts.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let relays = rng.usize(1..=3);
        let servers = rng.usize(1..=2);
        let hosts = rng.usize(1..=2);
        let mut clients: Vec<ClientPlan> = (0..rng.usize(1..=4))
            .map(|_| ClientPlan {
                nat: NatKind::ALL[rng.usize(..NatKind::ALL.len())],
                server: rng.usize(..servers),
                repeats_nonces: rng.bool(),
                nat_timeout: Duration::from_secs(rng.u64(45..=300)),
                hairpin: rng.bool(),
                carrier: None,
            })
            .collect();
        let carriers = customers(&mut rng, &mut clients);
        let flows = (0..rng.usize(1..=4))
            .map(|_| flow(&mut rng, hosts, &clients, &carriers))
            .collect();
        let is_calm = rng.u8(..4) == 0;
        let faults = Fault::ALL
            .into_iter()
            .filter(|fault| rng.u8(..3) == 0 && !(is_calm && fault.disrupts()))
            .collect();
        Self {
            seed,
            relays,
            servers,
            hosts,
            clients,
            carriers,
            flows,
            faults,
            limits: limits(&mut rng),
            table: 4096,
            prints: false,
        }
    }

    /// Whether `fault` happens.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether the network allows everything all the time.
    pub fn is_calm(&self) -> bool {
        !self.faults.iter().any(|fault| fault.disrupts())
    }

    /// Whether attackers use up the limits, so that others meet them.
    pub fn is_flooded(&self) -> bool {
        self.has(Fault::Attack) && self.limits.new_peers_per_s < Limits::default().new_peers_per_s
    }

    /// From when on every packet must arrive exactly once and in order. Never where attackers use up the limits: new
    /// peers of others are refused as well.
    pub fn strict_from(&self) -> Instant {
        if self.is_flooded() {
            return Instant::from_nanos(u64::MAX);
        }
        let from = if self.is_calm() {
            Duration::ZERO
        } else {
            CALM_AT + HEALS_WITHIN
        };
        Instant::default() + from
    }

    /// When the flows end.
    pub fn flows_end(&self) -> Instant {
        let end = if self.is_calm() {
            Duration::from_secs(150)
        } else {
            CALM_AT + HEALS_WITHIN + JUDGED
        };
        Instant::default() + end
    }

    /// When a flow sends packet `seq + 1`, having sent `seq` at `now`.
    pub fn next_send(&self, flow: &FlowPlan, now: Instant, seq: u32) -> Instant {
        const BURST: Duration = Duration::from_millis(60);
        if seq < 16 || now >= self.strict_from() && !self.is_calm() {
            return now + BURST * 2;
        }
        let resumes = Instant::default() + CALM_AT.saturating_sub(Duration::from_secs(10));
        if now < resumes && now + Duration::from_secs(2) >= resumes {
            return now + Duration::from_secs(2) + flow.pause;
        }
        let step = if now.as_nanos() < 100_000_000_000 {
            2
        } else {
            5
        };
        let next = now + Duration::from_secs(step);
        if self.is_calm() {
            next
        } else {
            next.min(self.strict_from().max(now + BURST))
        }
    }
}

/// One world in three has a carrier, or two, and half of its clients are customers.
fn customers(rng: &mut fastrand::Rng, clients: &mut [ClientPlan]) -> Vec<CarrierPlan> {
    let count = if rng.u8(..3) == 0 {
        rng.usize(1..=2)
    } else {
        0
    };
    let carriers = (0..count).map(|_| CarrierPlan {
        nat: NatKind::CARRIERS[rng.usize(..NatKind::CARRIERS.len())],
        nat_timeout: Duration::from_secs(rng.u64(45..=300)),
        hairpin: rng.bool(),
    });
    let carriers: Vec<CarrierPlan> = carriers.collect();
    for client in clients {
        client.carrier = (count > 0 && rng.bool()).then(|| rng.usize(..count));
    }
    carriers
}

/// In one world of four the limits are so small that attackers reach them, and honest traffic alone does not.
fn limits(rng: &mut fastrand::Rng) -> Limits {
    if rng.u8(..4) > 0 {
        return Limits::default();
    }
    Limits {
        pending_peers: rng.usize(48..=96),
        new_peers_per_s: rng.u32(2..=8),
        new_peers_burst: rng.u32(48..=64),
        server_bubbles_per_s: rng.u32(4..=8),
        server_bubbles_burst: rng.u32(48..=64),
        repeats_per_s: rng.u32(1..=8),
        repeats_burst: rng.u32(16..=64),
        unanswered_per_source_prefix: rng.u32(48..=64),
        queue_bytes_total: rng.usize(32 << 10..=64 << 10),
        ..Limits::default()
    }
}

fn flow(
    rng: &mut fastrand::Rng,
    hosts: usize,
    clients: &[ClientPlan],
    carriers: &[CarrierPlan],
) -> FlowPlan {
    let client = rng.usize(..clients.len());
    let host = End::Host(rng.usize(..hosts));
    let other = rng.usize(..clients.len());
    let can_pair = other != client && can_pair(&clients[client], &clients[other], carriers);
    let (from, to) = match rng.u8(..3) {
        0 if can_pair => (End::Client(client), End::Client(other)),
        0 | 1 => (host, End::Client(client)),
        _ => (End::Client(client), host),
    };
    FlowPlan {
        from,
        to,
        start: Duration::from_millis(rng.u64(3_000..6_000)),
        pause: Duration::from_secs(rng.u64(0..80)),
    }
}

/// Whether two clients find each other by RFC 4380 alone: every box in front of them maps all remotes alike, and one they
/// share lets its own address in.
fn can_pair(one: &ClientPlan, other: &ClientPlan, carriers: &[CarrierPlan]) -> bool {
    let is_open = |nat: NatKind| nat.mapping() == Depends::Nothing && !nat.has_upnp();
    let carrier = |client: &ClientPlan| client.carrier.and_then(|i| carriers.get(i));
    let are_open = [one, other].into_iter().all(|client| {
        is_open(client.nat) && carrier(client).is_none_or(|carrier| is_open(carrier.nat))
    });
    let meet = one.carrier != other.carrier || carrier(one).is_none_or(|carrier| carrier.hairpin);
    are_open && meet
}
