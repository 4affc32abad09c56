//! Commands on their way to the caller, in memory that is used again.

use alloc::vec::Vec;
use core::mem;
use core::net::Ipv6Addr;

use super::command::{Command, Icmp6Error, UdpKind};
use crate::addr::Mapped;

/// A [`Command`] without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    SendUdp { to: Mapped, tos: u8, kind: UdpKind },
    Forward,
    Icmp6 { to: Ipv6Addr, error: Icmp6Error },
}

/// Commands in order, their bytes one behind the other.
///
/// The bytes of a command are written first, as the draft, and then given their order. Nothing is freed: the
/// outbox keeps the size of the largest output between two visits of the caller, which the queues' memory bounds.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// With where the bytes of each end.
    orders: Vec<(Order, usize)>,
    taken: usize,
    taken_bytes: usize,
    draft_at: usize,
}

impl Outbox {
    /// Gives back what memory is left over beyond `keep` orders, if there is none now. Says whether any was.
    pub(super) fn give_back(&mut self, keep: usize) -> bool {
        let gives = self.orders.is_empty() && self.orders.capacity() > keep;
        if gives {
            *self = Self::default();
        }
        gives
    }

    /// Where a draft is appended to.
    pub(super) fn pen(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was written since the last order.
    pub(super) fn draft(&mut self) -> &mut [u8] {
        &mut self.bytes[self.draft_at..]
    }

    /// Makes a command of the draft.
    pub(super) fn order(&mut self, order: Order) {
        self.draft_at = self.bytes.len();
        self.orders.push((order, self.draft_at));
    }

    /// Leaves the first `len` bytes of the draft.
    pub(super) fn shorten(&mut self, len: usize) {
        self.bytes.truncate(self.draft_at + len);
    }

    /// Forgets the draft.
    pub(super) fn discard(&mut self) {
        self.bytes.truncate(self.draft_at);
    }

    /// The next command. After the last one the memory is used anew.
    pub(super) fn take(&mut self) -> Option<Command<'_>> {
        let Some(&(order, end)) = self.orders.get(self.taken) else {
            self.bytes.clear();
            self.orders.clear();
            (self.taken, self.taken_bytes, self.draft_at) = (0, 0, 0);
            return None;
        };
        self.taken += 1;
        let start = mem::replace(&mut self.taken_bytes, end);
        let bytes = &self.bytes[start..end];
        Some(match order {
            Order::SendUdp { to, tos, kind } => Command::SendUdp {
                to,
                tos,
                payload: bytes,
                kind,
            },
            Order::Forward => Command::Forward { packet: bytes },
            Order::Icmp6 { to, error } => Command::Icmp6 {
                to,
                error,
                quote: bytes,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(outbox: &mut Outbox, bytes: &[u8]) {
        outbox.pen().extend_from_slice(bytes);
        outbox.order(Order::Forward);
    }

    #[test]
    fn commands_leave_in_order_each_with_its_bytes() {
        let mut outbox = Outbox::default();
        forward(&mut outbox, b"one");
        outbox.pen().extend_from_slice(b"dropped");
        assert_eq!(outbox.draft(), b"dropped");
        outbox.discard();
        forward(&mut outbox, b"");
        assert_eq!(outbox.take(), Some(Command::Forward { packet: b"one" }));
        forward(&mut outbox, b"three");
        assert_eq!(outbox.take(), Some(Command::Forward { packet: b"" }));
        assert_eq!(outbox.take(), Some(Command::Forward { packet: b"three" }));
        assert_eq!(outbox.take(), None);
        forward(&mut outbox, b"four");
        assert_eq!(outbox.take(), Some(Command::Forward { packet: b"four" }));
    }
}
