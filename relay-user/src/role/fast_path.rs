//! The fast path as the settings ask for it, or the best this machine allows.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::path::Path;

use tracing::warn;

use crate::config::{DaemonSettings, DatapathChoice};
use crate::datapath::{
    AttachedPort, Datapath, MemoryPeers, Mode, Peers, Pins, RelayRole, Secrets, ServerRole,
    Settings,
};
use crate::error::StartError;
use crate::net::{self, PortPath, Snapshot};
use crate::slowpath::bypass::Bypass;
use crate::slowpath::xsk::PuntSocket;
use crate::slowpath::xsk_out::FramesOut;

/// What is asked of it.
pub(super) struct Wanted<'a> {
    /// Where, and how.
    pub(super) daemon: &'a DaemonSettings,
    /// The interface from whose point of view routes are looked up.
    pub(super) fib_ifindex: u32,
    /// The relay, if there is one.
    pub(super) relay: Option<RelayRole>,
    /// The server, if there is one.
    pub(super) server: Option<ServerRole>,
    /// Where program and peers outlive the daemon.
    pub(super) pin_dir: Option<&'a Path>,
    /// Whether sockets for punted frames try zero-copy mode.
    pub(super) zero_copy: bool,
}

/// The loaded and attached program, or none, with what is worth telling about it.
pub(super) struct FastPath {
    /// None with `--datapath userspace`.
    pub(super) datapath: Option<Datapath>,
    /// Sockets for punted frames, one for each receive queue of each port.
    pub(super) punts: Vec<PuntSocket>,
    /// By port number, where frames can be sent through those sockets.
    pub(super) outs: HashMap<u32, Vec<FramesOut>>,
    /// Why `auto` did not get native XDP.
    pub(super) fell_back: Option<String>,
    /// For `status`.
    pub(super) warnings: Vec<String>,
}

impl FastPath {
    /// Loads and attaches what is wanted. On failure nothing is left.
    pub(super) fn start(wanted: &Wanted<'_>, snapshot: &Snapshot) -> Result<Self, StartError> {
        let attach = |mode| Self::attach(wanted, snapshot, mode);
        match wanted.daemon.datapath {
            DatapathChoice::Userspace => Ok(Self::none()),
            DatapathChoice::Xdp => attach(Mode::Xdp),
            DatapathChoice::XdpGeneric => attach(Mode::XdpGeneric),
            DatapathChoice::Auto => attach(Mode::Xdp).or_else(|native| {
                let mut fallen = attach(Mode::XdpGeneric).unwrap_or_else(|generic| {
                    warn!("generic XDP does not work either: {generic}");
                    Self::none()
                });
                fallen.fall_back(&native);
                Ok(fallen)
            }),
        }
    }

    fn none() -> Self {
        Self {
            datapath: None,
            punts: Vec::new(),
            outs: HashMap::new(),
            fell_back: None,
            warnings: Vec::new(),
        }
    }

    fn fall_back(&mut self, native: &StartError) {
        let text = format!(
            "native XDP does not work here, running {} instead: {native}",
            self.active()
        );
        warn!("{text}");
        self.fell_back = Some(native.to_string());
        self.warnings.push(text);
    }

    fn attach(wanted: &Wanted<'_>, snapshot: &Snapshot, mode: Mode) -> Result<Self, StartError> {
        let (pins, unpinned) = Self::open_pins(wanted.pin_dir);
        let loaded = Settings {
            mode,
            fib_ifindex: wanted.fib_ifindex,
            relay: wanted.relay.clone(),
            server: wanted.server.clone(),
            secrets: Secrets::draw()
                .map_err(|error| StartError::new("random source", "", error.to_string(), ""))?,
        };
        let mut datapath = Datapath::load_pinned(&loaded, pins)?;
        let mut path = Self::none();
        if let Some(text) = unpinned {
            path.warn(text);
        }
        for name in &wanted.daemon.ifaces {
            let port = port_of(snapshot, name)?;
            if datapath
                .attached()
                .iter()
                .any(|a| a.ifindex == port.port.index)
            {
                continue;
            }
            let attached = datapath.attach(port.port, net::rx_queues(&port.port.name))?;
            if wanted.relay.is_some() {
                path.open_sockets(wanted.zero_copy, &mut datapath, &attached);
            }
        }
        datapath.reconcile(snapshot);
        datapath.settle();
        path.datapath = Some(datapath);
        Ok(path)
    }

    /// Without them everything works until the daemon dies: worth a warning.
    fn open_pins(base: Option<&Path>) -> (Option<Pins>, Option<String>) {
        let Some(base) = base else {
            return (None, None);
        };
        match Pins::open(base) {
            Ok(pins) => (Some(pins), None),
            Err(error) => {
                let base = base.display();
                let text =
                    format!("--pin-dir {base}: {error}; program and peers end with this daemon");
                (None, Some(text))
            }
        }
    }

    /// A queue without a socket is served by the kernel's front end: slower, and worth a warning.
    fn open_sockets(&mut self, zero_copy: bool, datapath: &mut Datapath, port: &AttachedPort) {
        let generic = port.mode == Mode::XdpGeneric;
        for queue in 0..port.queues {
            let open = |zero_copy| PuntSocket::open(&port.name, queue, zero_copy, generic);
            let socket = open(zero_copy).or_else(|error| {
                if zero_copy && !generic {
                    self.warn(format!(
                        "{} queue {queue}: no zero copy ({error}), using copy mode",
                        port.name
                    ));
                    return open(false);
                }
                Err(error)
            });
            let entered = socket.and_then(|socket| {
                datapath.set_socket(port.xsk_base + queue, socket.fd())?;
                Ok(socket)
            });
            match entered {
                Ok(socket) => {
                    self.outs.entry(port.number).or_default().push(socket.out());
                    self.punts.push(socket);
                }
                Err(error) => self.warn(format!(
                    "{} queue {queue}: no AF_XDP socket ({error}), its slow path goes through the kernel",
                    port.name
                )),
            }
        }
    }

    fn warn(&mut self, text: String) {
        warn!("{text}");
        self.warnings.push(text);
    }

    /// How what waited for a client leaves from `service` past the kernel, where the program keeps next hops.
    pub(super) fn bypass(&mut self, service: SocketAddrV4) -> Result<Option<Bypass>, StartError> {
        let Some(datapath) = &self.datapath else {
            return Ok(None);
        };
        let id_key = u64::from_ne_bytes(random()?);
        let outs = std::mem::take(&mut self.outs);
        Ok(Some(Bypass::new(
            service,
            datapath.next_hops(),
            outs,
            id_key,
        )))
    }

    /// The name of what runs, as `--datapath` would ask for it.
    pub(super) fn active(&self) -> &'static str {
        self.datapath
            .as_ref()
            .and_then(|datapath| datapath.attached().first().map(|port| port.mode.as_str()))
            .unwrap_or(DatapathChoice::Userspace.as_str())
    }

    /// The store of trusted peers that belongs to it.
    pub(super) fn peers(&self, max_peers: u32) -> Peers {
        match &self.datapath {
            Some(datapath) => Peers::Bpf(datapath.peers()),
            None => Peers::Memory(MemoryPeers::new(max_peers)),
        }
    }
}

/// The port an interface that was named stands on.
pub(super) fn port_of<'a>(snapshot: &'a Snapshot, name: &str) -> Result<PortPath<'a>, StartError> {
    snapshot.port_of(name).ok_or_else(|| {
        StartError::new(
            "--iface",
            name,
            "no such interface, or one under more than two VLAN tags",
            format!("have: {}", snapshot.names()),
        )
    })
}

/// From the system's random source.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StartError::new("random source", "", error.to_string(), ""))?;
    Ok(bytes)
}
