//! Clients of a server, one after the other, each from an address of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha1::Sha1;
use teredo::addr::{Mapped, ServerV4, TeredoAddr};
use teredo::server::{Config, KeyState, Local, Server};
use teredo::wire::auth::Auth;
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::payload;
use teredo::wire::rs_ra::{CONE_SOURCE, RESTRICTED_SOURCE, RouterSolicitation};
use teredo::{Fate, Instant};
use zerocopy::IntoBytes;

const PRIMARY: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 1);
const NONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const ID: &[u8] = b"client-1";
const SECRET: &[u8] = b"a secret";

/// A server, and what its clients send.
pub(crate) struct Solicitors {
    pub(crate) server: Server,
    pub(crate) now: Instant,
    /// Time between two clients.
    apart: Duration,
    clients: u32,
    solicitation: Vec<u8>,
    signed: Vec<u8>,
    bubble: Vec<u8>,
}

impl Solicitors {
    pub(crate) fn new(apart: Duration) -> Self {
        let mut config = Config::new(PRIMARY);
        config
            .credentials
            .insert(ID, SECRET, KeyState::Current)
            .expect("an identifier and a secret");
        let source = RESTRICTED_SOURCE;
        let packet = RouterSolicitation { source }.build();
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET).expect("any key will do");
        mac.update(&NONCE);
        mac.update(&[0]);
        mac.update(&packet);
        let value = mac.finalize().into_bytes();
        let signature = Auth::secure(ID, &value, NONCE, 0).expect("twenty bytes");
        let bubble = Ipv6Header::new(CONE_SOURCE, [0; 16], ipv6::NO_NEXT_HEADER, 0, 0);
        Self {
            server: Server::new(config, [7; 32]),
            now: Instant::from_nanos(1_000_000_000_000),
            apart,
            clients: 0,
            solicitation: payload::build(Some(&Auth::with_nonce(NONCE)), None, &packet),
            signed: payload::build(Some(&signature), None, &packet),
            bubble: bubble.as_bytes().to_vec(),
        }
    }

    /// The next client, from 4.0.0.0 on.
    fn next(&mut self) -> Mapped {
        self.clients += 1;
        self.now = self.now + self.apart;
        Mapped {
            ip: Ipv4Addr::from_bits(0x0400_0000 + self.clients % 0x0100_0000),
            port: 40_000,
        }
    }

    /// A solicitation of the next client, with a nonce and nothing else, and its answer.
    pub(crate) fn solicit(&mut self) {
        let source = SocketAddrV4::from(self.next());
        let (fate, answer) =
            self.server
                .receive(self.now, Local::Primary, source, &self.solicitation);
        assert!(fate == Fate::Advertised && answer.is_some());
    }

    /// One that proves who asks, and an answer that proves who answers.
    pub(crate) fn solicit_signed(&mut self) {
        let source = SocketAddrV4::from(self.next());
        let (fate, answer) = self
            .server
            .receive(self.now, Local::Primary, source, &self.signed);
        assert!(fate == Fate::Advertised && answer.is_some());
    }

    /// A bubble of one of many relays to the next client.
    pub(crate) fn bubble(&mut self) {
        let client = TeredoAddr::new(ServerV4(PRIMARY), 0x2093, self.next());
        self.bubble[24..40].copy_from_slice(&client.octets());
        let relay = SocketAddrV4::new(
            Ipv4Addr::from_bits(0x0800_0000 + self.clients % 0x1_0000),
            3545,
        );
        let (fate, sent) = self
            .server
            .receive(self.now, Local::Primary, relay, &self.bubble);
        assert!(fate == Fate::ForwardedToClient && sent.is_some());
    }
}
