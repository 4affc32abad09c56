//! What happens to a good frame on its way: damage, lies and odd addresses.

use crate::packets::{fix_header, fix_udp};
use crate::random::Random;

/// The least `BPF_PROG_TEST_RUN` takes: an Ethernet header.
pub(crate) const SHORTEST: usize = 14;

/// Values that mean something somewhere.
const TELLING: [u8; 18] = [
    0, 1, 2, 4, 6, 8, 17, 40, 43, 44, 58, 59, 60, 0x20, 0x45, 0x60, 0xfe, 0xff,
];

/// Where random numbers come from, and addresses some rule has something against.
pub(crate) trait Odd {
    fn random(&mut self) -> &mut Random;
    fn odd_address(&mut self) -> [u8; 16];
}

/// Changes a frame whose packet begins at `at` in up to three ways.
pub(crate) fn mutate(cast: &mut impl Odd, frame: &mut Vec<u8>, at: usize) {
    let is_ipv4 = frame[at] >> 4 == 4;
    let inner = at + if is_ipv4 { 28 } else { 0 };
    for _ in 0..=cast.random().below(3) {
        once(cast, frame, at, inner);
    }
    if is_ipv4 && frame.len() >= at + 20 {
        if !cast.random().one_in(8) {
            fix_header(&mut frame[at..]);
        }
        match cast.random().below(4) {
            0 => {}
            1 if frame.len() >= at + 28 => frame[at + 26..at + 28].fill(0),
            _ => fix_udp(&mut frame[at..]),
        }
    }
}

fn once(cast: &mut impl Odd, frame: &mut Vec<u8>, at: usize, inner: usize) {
    let len = frame.len();
    match cast.random().below(15) {
        0 => {
            let place = cast.random().below(len);
            frame[place] = cast.random().byte();
        }
        1 => {
            let place = cast.random().below(len);
            frame[place] = cast.random().pick(&TELLING);
        }
        2 | 3 => {
            let place = at + cast.random().below(70);
            let value = cast.random().pick(&TELLING);
            put(frame, place, &[value]);
        }
        4 => {
            let keep = cast.random().below(len);
            frame.truncate(keep.max(SHORTEST));
        }
        5 => {
            let keep = len - cast.random().below(9).min(len);
            frame.truncate(keep.max(SHORTEST));
        }
        // Lengths: outer, UDP, inner.
        6 => nudge(cast.random(), frame, at + 2),
        7 => nudge(cast.random(), frame, at + 24),
        8 => nudge(cast.random(), frame, inner + 4),
        9 => {
            let place = inner + cast.random().pick(&[8, 24]);
            let address = cast.odd_address();
            put(frame, place, &address);
        }
        10 => {
            let address = cast.odd_address();
            put(frame, inner + 24, &address);
        }
        // Fragments.
        11 => {
            let flags = cast.random().pick(&[0x20, 0x80, 0x40, 0x1f, 0]);
            let value = [flags, cast.random().pick(&TELLING)];
            put(frame, at + 6, &value);
        }
        // Somebody else's frame, another tag or protocol.
        12 => {
            let place = cast.random().below(at.min(len));
            frame[place] = cast.random().pick(&[0, 1, 0x81, 0x88, 0xa8, 0x86, 0xdd, 8]);
        }
        // Options, and what they are not.
        13 => {
            let value = cast.random().pick(&[0x46, 0x4f, 0x44, 0x40, 0x55, 0x65]);
            put(frame, at, &[value]);
        }
        _ => {
            let more = cast.random().below(60);
            let bytes = cast.random().bytes(more);
            frame.extend(bytes);
        }
    }
}

fn put(frame: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Makes a length a little wrong, or very.
fn nudge(random: &mut Random, frame: &mut [u8], at: usize) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        let is = u16::from_be_bytes([place[0], place[1]]);
        let lie = match random.below(4) {
            0 => random.word(),
            1 => is.wrapping_sub(random.word() % 50),
            2 => is.wrapping_add(random.word() % 50),
            _ => random.pick(&[0, 1, 7, 8, 19, 20, 28, 0xffff]),
        };
        place.copy_from_slice(&lie.to_be_bytes());
    }
}
