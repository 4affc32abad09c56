//! The peer table in the layout the XDP program reads, in memory of this process and for one thread.

use relay_common::{
    BLOCK_SIDE_LINES, KeyWords, Line, MappedWord, PeerKey, ReadLine, SIDE_WAYS, SIDE_WORDS,
    TableShape, Tail, Ticks, WAYS, find,
};
use teredo::Instant;
use teredo::addr::{Mapped, TeredoAddr};
use teredo::relay::{PeerTable, TableFull, Trusted};

/// Lines of 64 bytes, for some number of peers.
pub struct LineTable {
    shape: TableShape,
    lines: Vec<Line>,
    now: Ticks,
}

#[derive(Clone, Copy)]
struct Read<'a>(&'a Line, usize);

impl ReadLine for Read<'_> {
    fn word(self, at: usize) -> u64 {
        self.0.0[at]
    }
}

impl LineTable {
    /// An empty table for `max_peers`, its hash keyed with `keys`.
    pub fn new(max_peers: u32, keys: [u64; 4]) -> Self {
        let shape = TableShape::new(max_peers, keys);
        Self {
            shape,
            lines: vec![Line::default(); shape.lines() as usize],
            now: Ticks::default(),
        }
    }

    /// Tells it the time, from which the sixteen bits of a tick are completed.
    pub fn set_now(&mut self, now: Instant) {
        self.now = Ticks::from(now);
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> u64 {
        self.shape.bytes()
    }

    fn place(&self, words: KeyWords) -> Option<(usize, usize, MappedWord)> {
        let line = |number: u32| {
            self.lines
                .get(number as usize)
                .map(|line| Read(line, number as usize))
        };
        let found = find(self.shape, words, line)?;
        Some((found.line.1, found.tail_at, found.mapped))
    }
}

fn words_of(peer: &TeredoAddr) -> KeyWords {
    KeyWords::from(PeerKey::from(peer))
}

impl PeerTable for LineTable {
    fn get(&self, peer: &TeredoAddr) -> Option<Trusted> {
        let (line, at, mapped) = self.place(words_of(peer))?;
        let age = Tail(self.lines[line].0[at]).age(self.now);
        let (ip, port) = mapped.octets();
        Some(Trusted {
            mapped: Mapped {
                ip: ip.into(),
                port: u16::from_be_bytes(port),
            },
            last_rx: Ticks(self.now.0.saturating_sub(age)).into(),
        })
    }

    fn insert(&mut self, peer: &TeredoAddr, entry: Trusted) -> Result<(), TableFull> {
        let words = words_of(peer);
        let tick = Ticks::from(entry.last_rx);
        let wanted = MappedWord::new(entry.mapped.ip.octets(), entry.mapped.port.to_be_bytes());
        if let Some((line, at, mapped)) = self.place(words) {
            if mapped == wanted {
                let word = &mut self.lines[line].0[at];
                *word = Tail(*word).with_tick(tick).0;
                return Ok(());
            }
            self.remove(peer);
        }
        let bucket = self.shape.bucket(words);
        let home = &mut self.lines[TableShape::bucket_line(bucket) as usize].0;
        let free = (0..WAYS).find(|way| !Tail(home[2 * way + 1]).is_used());
        if let Some(way) = free.filter(|_| wanted == words.embedded()) {
            home[2 * way] = words.head;
            home[2 * way + 1] = Tail(home[2 * way + 1]).occupied(words.tail, tick).0;
            return Ok(());
        }
        let first = TableShape::side_line(bucket) as usize;
        for line in first..first + BLOCK_SIDE_LINES as usize {
            for at in (0..SIDE_WAYS).map(|way| SIDE_WORDS * way) {
                let side = &mut self.lines[line].0;
                if !Tail(side[at + 1]).is_used() {
                    side[at] = words.head;
                    side[at + 1] = Tail(side[at + 1]).occupied(words.tail, tick).0;
                    side[at + 2] = wanted.0;
                    let home = &mut self.lines[TableShape::bucket_line(bucket) as usize].0;
                    home[1] = Tail(home[1]).with_side(true).0;
                    return Ok(());
                }
            }
        }
        Err(TableFull)
    }

    fn remove(&mut self, peer: &TeredoAddr) {
        if let Some((line, at, _)) = self.place(words_of(peer)) {
            let word = &mut self.lines[line].0[at];
            *word = Tail(*word).vacated().0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;
    use teredo::addr::ServerV4;

    fn peer(n: u32) -> TeredoAddr {
        let ip = Ipv4Addr::from_bits(0x0400_0000 + n);
        let server = ServerV4(Ipv4Addr::new(192, 0, 2, 1));
        TeredoAddr::new(server, 0, Mapped { ip, port: 9 })
    }

    #[test]
    fn every_peer_it_is_made_for_is_found_again_wherever_it_is_mapped() {
        let mut table = LineTable::new(
            10_000,
            [3, 5, 7, 11].map(|k: u64| k.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        );
        let now = Instant::default() + Duration::from_mins(1);
        table.set_now(now);
        let entry = |n: u32| Trusted {
            mapped: Mapped {
                port: if n.is_multiple_of(20) { 10 } else { 9 },
                ..peer(n).mapped()
            },
            last_rx: Ticks::from(now).into(),
        };
        let stored = (0..10_000).filter(|n| table.insert(&peer(*n), entry(*n)).is_ok());
        assert_eq!(stored.count(), 10_000);
        assert!((0..10_000).all(|n| table.get(&peer(n)) == Some(entry(n))));
        table.remove(&peer(7));
        assert_eq!(
            (table.get(&peer(7)), table.get(&peer(8))),
            (None, Some(entry(8)))
        );
    }
}
