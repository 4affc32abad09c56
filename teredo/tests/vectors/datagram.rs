//! Datagrams as typed values, to compare with and to build from.

use teredo::wire::auth::Auth;
use teredo::wire::icmp6::{self, Echo, EchoKind, Icmp6Error};
use teredo::wire::ipv6::{self, Ipv6Header};
use teredo::wire::origin::Origin;
use teredo::wire::rs_ra::{RouterAdvertisement, RouterSolicitation};
use teredo::wire::trailer::Trailers;
use teredo::wire::{bubble, checksum, payload};
use zerocopy::IntoBytes;

/// An inner packet as typed values.
#[derive(Debug, PartialEq)]
pub(super) enum Packet {
    Bubble {
        source: [u8; 16],
        destination: [u8; 16],
        hop_limit: u8,
    },
    Solicitation(RouterSolicitation),
    Advertisement(RouterAdvertisement),
    Echo {
        source: [u8; 16],
        destination: [u8; 16],
        hop_limit: u8,
        kind: EchoKind,
        identifier: u16,
        sequence: u16,
        data: Vec<u8>,
    },
    Udp {
        source: ([u8; 16], u16),
        destination: ([u8; 16], u16),
        hop_limit: u8,
        data: Vec<u8>,
    },
    Error {
        source: [u8; 16],
        destination: [u8; 16],
        error: Icmp6Error,
        quote: Vec<u8>,
    },
}

impl Packet {
    fn build(&self) -> Vec<u8> {
        match *self {
            Self::Bubble {
                source,
                destination,
                hop_limit,
            } => {
                let mut bubble = bubble::build(source, destination, &Trailers::default());
                bubble[7] = hop_limit;
                bubble
            }
            Self::Solicitation(solicitation) => solicitation.build(),
            Self::Advertisement(advertisement) => advertisement.build(),
            Self::Echo {
                source,
                destination,
                hop_limit,
                kind,
                identifier,
                sequence,
                ref data,
            } => {
                let echo = Echo {
                    kind,
                    identifier,
                    sequence,
                    data,
                };
                echo.build(source, destination, hop_limit).unwrap()
            }
            Self::Udp {
                source,
                destination,
                hop_limit,
                ref data,
            } => udp(source, destination, hop_limit, data),
            Self::Error {
                source,
                destination,
                error,
                ref quote,
            } => icmp6::build_error(source, destination, error, quote),
        }
    }

    fn parse(packet: &[u8]) -> Self {
        let (header, body, _) = ipv6::parse(packet).unwrap();
        let &Ipv6Header {
            source,
            destination,
            hop_limit,
            next_header,
            ..
        } = header;
        if header.is_bubble() {
            return Self::Bubble {
                source,
                destination,
                hop_limit,
            };
        }
        assert_eq!(
            checksum::upper_layer(&source, &destination, next_header, body),
            0,
            "transport checksum"
        );
        if next_header == ipv6::UDP {
            let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
            return Self::Udp {
                source: (source, port(0)),
                destination: (destination, port(2)),
                hop_limit,
                data: body[8..].to_vec(),
            };
        }
        if let Some(echo) = Echo::parse(header, body) {
            return Self::Echo {
                source,
                destination,
                hop_limit,
                kind: echo.kind,
                identifier: echo.identifier,
                sequence: echo.sequence,
                data: echo.data.to_vec(),
            };
        }
        match body[0] {
            133 => Self::Solicitation(RouterSolicitation::parse(header, body).unwrap()),
            134 => Self::Advertisement(RouterAdvertisement::parse(header, body).unwrap()),
            _ => parse_error(header, body),
        }
    }
}

fn parse_error(header: &Ipv6Header, body: &[u8]) -> Packet {
    assert_eq!(header.hop_limit, icmp6::ERROR_HOP_LIMIT);
    let parameter = u32::from_be_bytes([body[4], body[5], body[6], body[7]]);
    let error = match (body[0], body[1], parameter) {
        (1, 3, 0) => Icmp6Error::AddressUnreachable,
        (2, 0, mtu) => Icmp6Error::PacketTooBig { mtu },
        other => panic!("no error a relay sends: {other:?}"),
    };
    Packet::Error {
        source: header.source,
        destination: header.destination,
        error,
        quote: body[8..].to_vec(),
    }
}

/// An IPv6 packet with a UDP datagram.
pub(super) fn udp(
    source: ([u8; 16], u16),
    destination: ([u8; 16], u16),
    hop_limit: u8,
    data: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(8 + data.len()).unwrap();
    let mut segment = Vec::new();
    for field in [source.1, destination.1, len, 0] {
        segment.extend(field.to_be_bytes());
    }
    segment.extend(data);
    let sum = checksum::upper_layer(&source.0, &destination.0, ipv6::UDP, &segment);
    segment[6..8].copy_from_slice(&checksum::as_udp_field(sum).to_be_bytes());
    let header = Ipv6Header::new(source.0, destination.0, ipv6::UDP, hop_limit, len);
    [header.as_bytes(), &segment].concat()
}

/// A payload as typed values.
#[derive(Debug, PartialEq)]
pub(super) struct Datagram {
    auth: Option<Auth<'static>>,
    origin: Option<Origin>,
    packet: Packet,
    trailers: Trailers,
    /// Bytes behind the trailers that are to be skipped.
    skipped: &'static [u8],
}

impl Datagram {
    pub(super) fn new(packet: Packet) -> Self {
        Self {
            auth: None,
            origin: None,
            packet,
            trailers: Trailers::default(),
            skipped: &[],
        }
    }

    pub(super) fn with_auth(mut self, auth: Auth<'static>) -> Self {
        self.auth = Some(auth);
        self
    }

    pub(super) fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    pub(super) fn with_trailers(mut self, trailers: Trailers) -> Self {
        self.trailers = trailers;
        self
    }

    pub(super) fn with_skipped(mut self, skipped: &'static [u8]) -> Self {
        self.skipped = skipped;
        self
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let packet = self.packet.build();
        let mut bytes = payload::build(self.auth.as_ref(), self.origin.as_ref(), &packet);
        self.trailers.write(&mut bytes);
        bytes.extend(self.skipped);
        bytes
    }

    /// Asserts that `bytes` read as `self`.
    pub(super) fn assert_read_from(&self, bytes: &[u8]) {
        let found = payload::parse(bytes).unwrap();
        assert_eq!(found.auth, self.auth);
        assert_eq!(found.origin, self.origin);
        assert_eq!(Packet::parse(found.packet), self.packet);
        assert_eq!(Trailers::parse(found.tail), Ok(self.trailers));
        assert!(found.tail.ends_with(self.skipped));
        assert_eq!(found.packet, [found.header.as_bytes(), found.body].concat());
    }
}
