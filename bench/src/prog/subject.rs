//! The programs that carry packets: the shipped one, and the textbook relay it is measured against.

use std::net::SocketAddrV4;

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{HashMap, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use relay_common::{PeerEntry, PeerKey, Reason, Ticks};
use relay_user::datapath::{
    BpfPeers, Datapath, Mode, NextHopKeeper, RelayRole, Secrets, ServerRole, Settings, YARDSTICK,
};
use relay_user::net::Snapshot;
use relay_user::slowpath::clock;
use relay_user::slowpath::xsk::PuntSocket;
use teredo::relay::Access;

use super::companion::{Direction, program};
use super::frame::{SERVICE, client, mapped};
use super::ground::{IN, OUT, TUN, ifindex};

/// A program that carries packets.
pub(super) trait Subject {
    /// The loaded program.
    ///
    /// # Errors
    /// It is not in its object.
    fn program(&mut self) -> Result<&mut Xdp>;

    /// Packets carried so far.
    ///
    /// # Errors
    /// The kernel's refusal to read a counter.
    fn carried(&self, direction: Direction) -> Result<u64>;

    /// Lets user space do what the program has asked it for. Says whether the program keeps the next hop of packets of
    /// that direction by now.
    ///
    /// # Errors
    /// The kernel no longer tells of changed routes.
    fn serve(&mut self, direction: Direction) -> Result<bool>;

    /// Makes peers 0 to `peers` trusted, if they are not; a packet of each makes it fresh.
    ///
    /// # Errors
    /// The table is full.
    fn introduce(&mut self, peers: u32) -> Result<()>;
}

/// The shipped program, loaded and attached as the daemon does it.
pub(super) struct Shipped {
    datapath: Datapath,
    peers: BpfPeers,
    keeper: NextHopKeeper,
    /// Takes punted frames, so that a punt is one.
    _socket: PuntSocket,
}

impl Shipped {
    /// Attaches it to the ports of the calling thread's namespace, with room for `capacity` peers,
    /// and with a server if one is given.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn load(capacity: u32, server: Option<ServerRole>) -> Result<Self> {
        let mut datapath = Datapath::load(&Settings {
            mode: Mode::Xdp,
            fib_ifindex: ifindex(TUN)?,
            relay: Some(RelayRole {
                service: SocketAddrV4::new(SERVICE.ip, SERVICE.port),
                tunnel_mtu: 1280,
                // A table filled to its last place refuses one peer in ten million.
                max_peers: capacity + capacity / 16,
                access: Access::default(),
            }),
            server,
            secrets: Secrets::draw()?,
        })?;
        let snapshot = Snapshot::take()?;
        for name in [IN, OUT] {
            let port = snapshot.by_name(name).context(name)?;
            datapath.attach(port, 1)?;
        }
        datapath.reconcile(&snapshot);
        let socket = PuntSocket::open(IN, 0, false, false)?;
        let port = datapath.attached().into_iter().find(|port| port.name == IN);
        datapath.set_socket(port.context(IN)?.xsk_base, &socket)?;
        let keeper = datapath.next_hop_keeper()?;
        Ok(Self {
            peers: datapath.peers(),
            keeper: keeper.context("the first keeper")?,
            datapath,
            _socket: socket,
        })
    }

    /// Packets that ended in `reason` so far.
    ///
    /// # Errors
    /// The kernel's refusal to read the counter.
    pub(super) fn counted(&self, reason: Reason) -> Result<u64> {
        Ok(self.datapath.counters().read()?[reason as usize].packets)
    }

    /// Instructions the verifier looked at, and bytes of machine code.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(super) fn size(&mut self) -> Result<(u32, u32)> {
        let info = self.program()?.info()?;
        let verified = info.verified_instruction_count();
        Ok((
            verified.context("kernel 5.16 or newer")?,
            info.size_jitted(),
        ))
    }
}

impl Subject for Shipped {
    fn program(&mut self) -> Result<&mut Xdp> {
        Ok(self.datapath.program_for_test_run())
    }

    fn carried(&self, direction: Direction) -> Result<u64> {
        self.counted(match direction {
            Direction::Encap => Reason::Encapsulated,
            Direction::Decap => Reason::Decapsulated,
            Direction::ToServer => Reason::ForwardedToClient,
        })
    }

    fn serve(&mut self, direction: Direction) -> Result<bool> {
        self.keeper.serve_once()?;
        let live = self.datapath.next_hops().counts().live;
        // The namespace has one next hop of each family, and that of packets from clients is learnt first.
        Ok(live > u32::from(direction == Direction::Encap))
    }

    fn introduce(&mut self, peers: u32) -> Result<()> {
        let now = Ticks::from(clock::now());
        for peer in 0..peers {
            let entry = PeerEntry::new(mapped(peer), now);
            let key = PeerKey::from(&client(peer));
            let inserted = self.peers.insert(key, entry);
            inserted
                .ok()
                .with_context(|| format!("no room for peer {peer}"))?;
        }
        Ok(())
    }
}

/// The textbook relay.
pub(super) struct Textbook {
    ebpf: Ebpf,
    known: u32,
}

/// A trusted peer, as the program declares it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Peer {
    mapped_ipv4: [u8; 4],
    mapped_port: [u8; 2],
    reserved: [u8; 2],
    last_rx: u64,
}

// SAFETY: `repr(C)` of integers and byte arrays without padding.
unsafe impl aya::Pod for Peer {}

impl Textbook {
    /// With room for `capacity` peers.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn load(capacity: u32) -> Result<Self> {
        let ipv4 = u32::from_ne_bytes(SERVICE.ip.octets());
        let port = SERVICE.port.to_be();
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("PEERS", capacity)
            .override_global("SERVICE_IPV4", &ipv4, true)
            .override_global("SERVICE_PORT", &port, true)
            .load(YARDSTICK)?;
        program(&mut ebpf, "textbook")?.load()?;
        Ok(Self { ebpf, known: 0 })
    }
}

impl Subject for Textbook {
    fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.ebpf, "textbook")
    }

    fn carried(&self, direction: Direction) -> Result<u64> {
        let counter = match direction {
            Direction::Encap => 0,
            Direction::Decap => 1,
            Direction::ToServer => bail!("the textbook has no server"),
        };
        let map = self.ebpf.map("COUNTERS").context("COUNTERS")?;
        let map: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(map.get(&counter, 0)?.iter().sum())
    }

    /// It keeps nothing.
    fn serve(&mut self, _: Direction) -> Result<bool> {
        Ok(true)
    }

    /// Writing what is there already would make the full LRU forget somebody else.
    fn introduce(&mut self, peers: u32) -> Result<()> {
        let map = self.ebpf.map_mut("PEERS").context("PEERS")?;
        let mut map: HashMap<_, [u8; 16], Peer> = HashMap::try_from(map)?;
        for peer in self.known..peers {
            let mapped = mapped(peer);
            let entry = Peer {
                mapped_ipv4: mapped.ip.octets(),
                mapped_port: mapped.port.to_be_bytes(),
                reserved: [0; 2],
                last_rx: 0,
            };
            map.insert(client(peer).octets(), entry, 0)?;
        }
        self.known = self.known.max(peers);
        Ok(())
    }
}

/// # Errors
/// Another number of packets was counted than was sent.
pub(super) fn all_counted(counted: u64, packets: u32, as_what: &str) -> Result<()> {
    ensure!(
        counted == u64::from(packets),
        "{counted} of {packets} packets ended as {as_what}"
    );
    Ok(())
}
