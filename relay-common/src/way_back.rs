//! What the program tells the slow path about the way to whoever sent a punted frame.

use crate::MappedWord;

/// Stands in front of a punted bubble, where XDP keeps metadata: the kept next hop that leads back to its sender. User
/// space sends what waited for the peer by it, past the kernel's UDP and IP layers.
///
/// It says what the kernel answered when the frame came. The next hop may have been retired since, which its slot tells by its
/// state and version. Where none is kept, and in front of every other frame, zeros stand there: no client has the address 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayBack {
    /// Whom it leads to: outer source of the frame.
    pub to: MappedWord,
    /// Number of the [`NextHop`](crate::NextHop).
    pub hop: u32,
    /// Its [`version`](crate::NextHop::version).
    pub version: u32,
}

impl WayBack {
    /// Bytes of a note.
    pub const LEN: usize = size_of::<Self>();

    /// The note in words, as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u64; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.hop.to_ne_bytes(), self.version.to_ne_bytes());
        [self.to.0, u64::from_ne_bytes([a, b, c, d, e, f, g, h])]
    }

    /// The note in `bytes`, whatever they are.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        Self {
            to: MappedWord(u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
            hop: u32::from_ne_bytes([i, j, k, l]),
            version: u32::from_ne_bytes([m, n, o, p]),
        }
    }
}

// XDP takes metadata of up to 32 bytes, in whole words of four.
const _: () = assert!(WayBack::LEN == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_lies_in_memory() {
        let note = WayBack {
            to: MappedWord::new([203, 0, 113, 7], [0x0d, 0xd8]),
            hop: 3,
            version: 0x0102_0304,
        };
        // SAFETY: sixteen bytes without padding.
        let bytes: [u8; WayBack::LEN] = unsafe { core::mem::transmute(note.words()) };
        // SAFETY: as above.
        assert_eq!(bytes, unsafe {
            core::mem::transmute::<WayBack, [u8; WayBack::LEN]>(note)
        });
        assert_eq!(WayBack::from_bytes(&bytes), note);
    }
}
