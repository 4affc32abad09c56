//! A message of rtnetlink: a fixed part, then attributes.
//!
//! Read where it lies and no further than it is asked: a full table of routes may change in a second, and an attribute
//! nobody has heard of must be noticed rather than refused.

use std::io;

use rtnetlink::packet_core::{NLA_TYPE_MASK, NetlinkBuffer, NlasIterator};

use super::Family;

const LINK_LEN: usize = 16;
const ADDRESS_LEN: usize = 8;
/// Also those of rules and neighbours.
const ROUTE_LEN: usize = 12;
const NETCONF_LEN: usize = 4;
/// Bytes of an attribute before its value.
const HEADER_LEN: usize = 4;

/// Bytes of the fixed part of a message of that kind.
pub(super) const fn fixed_len(kind: u16) -> usize {
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK | libc::RTM_GETLINK => LINK_LEN,
        libc::RTM_NEWADDR | libc::RTM_DELADDR => ADDRESS_LEN,
        libc::RTM_NEWNETCONF => NETCONF_LEN,
        _ => ROUTE_LEN,
    }
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// `RTM_*` or `NLMSG_*`.
    pub(super) kind: u16,
    /// `NLM_F_*`.
    pub(super) flags: u16,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The messages of a datagram, in order. A broken one is the last.
    pub(super) fn all(datagram: &'a [u8]) -> impl Iterator<Item = io::Result<Self>> {
        let mut rest = datagram;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Ok(buffer) = NetlinkBuffer::new_checked(rest) else {
                rest = &[];
                return Some(Err(io::ErrorKind::InvalidData.into()));
            };
            let len = (buffer.length() as usize).next_multiple_of(4);
            let message = Self {
                kind: buffer.message_type(),
                flags: buffer.flags(),
                payload: buffer.payload(),
            };
            rest = rest.get(len..).unwrap_or(&[]);
            Some(Ok(message))
        })
    }

    pub(super) fn first_byte(&self) -> Option<u8> {
        self.u8_at(0)
    }

    /// Of all messages read here, the family is the first byte.
    pub(super) fn family(&self) -> Option<Family> {
        self.first_byte().and_then(Family::of)
    }

    pub(super) fn u8_at(&self, at: usize) -> Option<u8> {
        self.payload.get(at).copied()
    }

    pub(super) fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.payload.get(at..)?.first_chunk()?;
        Some(u16::from_ne_bytes(*bytes))
    }

    pub(super) fn u32_at(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// Kinds and values of the attributes; `None` in place of a broken one, which is the last.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Option<(u16, &'a [u8])>> + use<'a> {
        let attributes = self.payload.get(fixed_len(self.kind)..).unwrap_or(&[]);
        NlasIterator::new(attributes).map(|attribute| {
            let attribute = attribute.ok()?;
            let (kind, len) = (attribute.kind() & NLA_TYPE_MASK, attribute.length());
            let value = attribute.into_inner().get(HEADER_LEN..usize::from(len))?;
            Some((kind, value))
        })
    }

    /// The value of the attribute of that kind.
    pub(super) fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes()
            .flatten()
            .find_map(|(k, value)| (k == kind).then_some(value))
    }

    /// The error a message of kind `NLMSG_ERROR` carries; `None` for an acknowledgement.
    pub(super) fn error(&self) -> Option<io::Error> {
        let code = self.u32_at(0).map_or(-libc::EPROTO, u32::cast_signed);
        (code != 0).then(|| io::Error::from_raw_os_error(-code))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An attribute as it lies in a message.
    pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(HEADER_LEN + value.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A datagram of one message.
    pub(crate) fn datagram(kind: u16, fixed: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = [fixed, &attributes.concat()].concat();
        let len = u32::try_from(16 + body.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_datagram_of_two_messages_is_read_in_order() {
        let two = [
            datagram(libc::RTM_NEWROUTE, &[2; 12], &[attribute(1, &[7; 5])]),
            datagram(libc::RTM_DELROUTE, &[10; 12], &[]),
        ];
        let both = two.concat();
        let messages: Vec<_> = Message::all(&both).map(Result::unwrap).collect();
        let kinds: Vec<_> = messages.iter().map(|m| (m.kind, m.family())).collect();
        assert_eq!(
            kinds,
            [
                (libc::RTM_NEWROUTE, Some(Family::Ipv4)),
                (libc::RTM_DELROUTE, Some(Family::Ipv6))
            ]
        );
        assert_eq!(messages[0].attribute(1), Some(&[7; 5][..]));
        assert_eq!(messages[1].attribute(1), None);
    }

    #[test]
    fn a_broken_message_is_an_error_and_the_last() {
        let mut broken = datagram(libc::RTM_NEWROUTE, &[2; 12], &[]);
        broken[0] = 200;
        let read: Vec<_> = Message::all(&broken).map(|m| m.is_ok()).collect();
        assert_eq!(read, [false]);
    }

    #[test]
    fn a_broken_attribute_is_noticed() {
        let mut broken = attribute(1, &[7; 4]);
        broken[0] = 3;
        let broken = datagram(libc::RTM_NEWROUTE, &[2; 12], &[broken]);
        let message = Message::all(&broken).next().unwrap().unwrap();
        assert_eq!(message.attributes().collect::<Vec<_>>(), [None]);
    }
}
