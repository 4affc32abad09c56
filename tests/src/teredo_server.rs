//! A scripted Teredo server: forwards bubbles with an origin indication, and nothing else.
//!
//! For tests with thousands of peers that never qualified. Real miredo-server does the same,
//! but only for addresses that name it as their server and at its own pace.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use teredo::addr::{Mapped, SERVER_PORT, ServerV4, TeredoAddr};
use teredo::wire::origin::Origin;
use teredo::wire::payload;

use crate::Node;
use crate::many_addresses::{Envelope, ManyAddresses};
use crate::service::Service;

/// A server on one address of a machine. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    forwarded: Arc<AtomicUsize>,
    _service: Service,
}

impl Server {
    /// Starts a server on `address` of `node`, port 3544.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(node: &Node, address: Ipv4Addr) -> Result<Self> {
        let sockets = vec![
            ManyAddresses::bind(node, SERVER_PORT)
                .with_context(|| format!("{}: Teredo server", node.name()))?,
        ];
        let forwarded = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&forwarded);
        let service = Service::start(sockets, move |socket, envelope, payload| {
            if let Some((to, bubble)) = forward(address, envelope, payload)
                && socket.send(address, to, &bubble).is_ok()
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self {
            forwarded,
            _service: service,
        })
    }

    /// Bubbles forwarded so far.
    pub fn forwarded(&self) -> usize {
        self.forwarded.load(Ordering::Relaxed)
    }
}

/// Where a bubble goes and what it becomes (S-6, S-15, S-16).
fn forward(own: Ipv4Addr, envelope: Envelope, datagram: &[u8]) -> Option<(SocketAddrV4, Vec<u8>)> {
    let parsed = payload::parse(datagram).ok()?;
    let destination = TeredoAddr::from_octets(&parsed.header.destination)?;
    let ours = envelope.to == own && destination.server() == ServerV4(own);
    if !ours || !parsed.header.is_bubble() {
        return None;
    }
    let origin = Origin {
        mapped: Mapped::from(envelope.from),
    };
    // Trailers stay behind the bubble.
    let rest = [parsed.packet, parsed.tail].concat();
    let bubble = payload::build(None, Some(&origin), &rest);
    Some((destination.mapped().into(), bubble))
}
