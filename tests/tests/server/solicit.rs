//! Solicitations of scripted clients, byte by byte, and the answers to them. Nothing here is the server's own code.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use hmac::{Hmac, Mac};
use lab::Lab;
use sha1::Sha1;
use tempfile::NamedTempFile;
use teredo::addr::ServerV4;
use teredo::wire::ipv6;
use teredo::wire::rs_ra::{RouterAdvertisement, server_link_local};

use crate::scripted::Datagram;

/// From fe80::ffff:ffff:ffff, as deployed clients ask.
pub(crate) const SOLICITATION: [u8; 48] = *b"\x60\0\0\0\0\x08\x3a\xff\
    \xfe\x80\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\
    \xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\
    \x85\0\x7d\x37\0\0\0\0";
/// From fe80::8000:5445:5245:444f: to be answered from the other address.
pub(crate) const CONE_SOLICITATION: [u8; 48] = *b"\x60\0\0\0\0\x08\x3a\xff\
    \xfe\x80\0\0\0\0\0\0\x80\0TEREDO\
    \xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\
    \x85\0\x12\x5d\0\0\0\0";

const NONCE_LEN: usize = 8;
const ORIGIN_LEN: usize = 8;

/// An authentication header (RFC 4380 5.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) confirmation: u8,
}

/// An answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) header: Option<Header>,
    pub(crate) origin: [u8; ORIGIN_LEN],
    pub(crate) packet: Vec<u8>,
}

/// Somebody the server shares a secret with.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: Vec<u8>,
    pub(crate) secret: Vec<u8>,
    pub(crate) retired: bool,
}

impl Header {
    pub(crate) fn of_nonce(nonce: [u8; NONCE_LEN]) -> Self {
        Self {
            nonce,
            ..Self::default()
        }
    }

    /// The payload of header and `packet`.
    pub(crate) fn before(&self, packet: &[u8]) -> Vec<u8> {
        let len = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short enough");
        let mut payload = vec![0, 1, len(&self.id), len(&self.value)];
        payload.extend(&self.id);
        payload.extend(&self.value);
        payload.extend(self.nonce);
        payload.push(self.confirmation);
        payload.extend(packet);
        payload
    }

    fn read(payload: &[u8]) -> Option<(Self, &[u8])> {
        let [0, 1, id_len, value_len, rest @ ..] = payload else {
            return None;
        };
        let (id, rest) = rest.split_at(usize::from(*id_len));
        let (value, rest) = rest.split_at(usize::from(*value_len));
        let (nonce, rest) = rest.split_first_chunk().unwrap();
        let header = Self {
            id: id.to_vec(),
            value: value.to_vec(),
            nonce: *nonce,
            confirmation: rest[0],
        };
        Some((header, &rest[1..]))
    }
}

impl Answer {
    /// The advertisement to the client at `datagram.to`.
    ///
    /// # Panics
    /// If it is none, or says anything that is wrong.
    pub(crate) fn read(datagram: &Datagram) -> Self {
        Self::of(Lab::SERVER_V4, datagram)
    }

    /// The same from the server with another primary address.
    ///
    /// # Panics
    /// As there.
    pub(crate) fn of(primary: Ipv4Addr, datagram: &Datagram) -> Self {
        let (header, rest) = match Header::read(&datagram.payload) {
            Some((header, rest)) => (Some(header), rest),
            None => (None, &datagram.payload[..]),
        };
        let (origin, packet) = rest.split_first_chunk().unwrap();
        assert_eq!(*origin, origin_of(datagram.to));
        let (found, body, tail) = ipv6::parse(packet).unwrap();
        let advertisement = RouterAdvertisement::parse(found, body).unwrap();
        let server = ServerV4(primary);
        assert_eq!(advertisement.server(), Some(server));
        assert_eq!(advertisement.source, server_link_local(server));
        assert_eq!(advertisement.mtu, Some(1280));
        assert!(tail.is_empty());
        Self {
            header,
            origin: *origin,
            packet: packet.to_vec(),
        }
    }
}

/// What an origin indication says of `mapped`.
fn origin_of(mapped: SocketAddrV4) -> [u8; ORIGIN_LEN] {
    let [p0, p1] = mapped.port().to_be_bytes();
    let [a, b, c, d] = mapped.ip().octets();
    [0, 0, !p0, !p1, !a, !b, !c, !d]
}

impl Known {
    pub(crate) fn new(id: impl Into<Vec<u8>>, secret: impl Into<Vec<u8>>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            retired: false,
        }
    }

    pub(crate) fn retired(self) -> Self {
        Self {
            retired: true,
            ..self
        }
    }

    /// HMAC-SHA1 over nonce, confirmation, origin if there is one, and packet (S-20).
    pub(crate) fn value(
        &self,
        nonce: [u8; NONCE_LEN],
        confirmation: u8,
        origin: &[u8],
        packet: &[u8],
    ) -> Vec<u8> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).unwrap();
        for part in [&nonce[..], &[confirmation], origin, packet] {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }

    /// The header that proves it.
    pub(crate) fn header(&self, nonce: [u8; NONCE_LEN], packet: &[u8]) -> Header {
        Header {
            id: self.id.clone(),
            value: self.value(nonce, 0, &[], packet),
            nonce,
            confirmation: 0,
        }
    }

    /// A solicitation that proves it.
    pub(crate) fn solicitation(&self, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        self.header(nonce, &SOLICITATION).before(&SOLICITATION)
    }

    /// Checks that `answer` is to the solicitation with `nonce`, and by a server that has the secret (C-13).
    pub(crate) fn assert_answered(&self, nonce: [u8; NONCE_LEN], answer: &Answer) {
        let header = answer.header.as_ref().expect("with credentials");
        assert_eq!((&header.id, header.nonce), (&self.id, nonce));
        assert_eq!(header.confirmation != 0, self.retired);
        let value = self.value(nonce, header.confirmation, &answer.origin, &answer.packet);
        assert_eq!(header.value, value);
    }
}

/// The file of secrets for `clients`.
pub(crate) fn secret_file(clients: &[Known]) -> NamedTempFile {
    let mut text = String::new();
    for client in clients {
        let (id, secret) = (hex(&client.id), hex(&client.secret));
        writeln!(
            text,
            "[[client]]\nid-hex = \"{id}\"\nsecret-hex = \"{secret}\"\nretired = {}",
            client.retired
        )
        .unwrap();
    }
    // Only its owner can read it.
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
