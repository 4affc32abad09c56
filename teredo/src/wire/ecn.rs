//! DSCP and ECN across the tunnel (RFC 6040 normal mode, RFC 2983).

use crate::Fate;

/// The two ECN bits of a traffic class or TOS byte.
pub const ECN_MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// The outer TOS byte for an inner traffic class: RFC 6040 4.1 normal mode copies ECN, and DSCP goes with it.
#[inline(always)]
pub const fn encapsulate(inner: u8) -> u8 {
    inner
}

/// The inner traffic class after decapsulation (RFC 6040 4.2). DSCP stays the inner one.
///
/// # Errors
/// [`Fate::CongestionMarkedNotEct`]: the network marked a packet whose transport would not understand; it must be dropped.
#[inline(always)]
pub const fn decapsulate(outer: u8, inner: u8) -> Result<u8, Fate> {
    let ecn = match (inner & ECN_MASK, outer & ECN_MASK) {
        (NOT_ECT, CE) => return Err(Fate::CongestionMarkedNotEct),
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (_, ECT_1) => ECT_1,
        (own, _) => own,
    };
    Ok(inner & !ECN_MASK | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 figure 4, rows inner, columns outer, in the order 00, 10, 01, 11.
    #[test]
    fn decapsulation_follows_figure_4_of_rfc_6040() {
        const ORDER: [u8; 4] = [0b00, 0b10, 0b01, 0b11];
        const FIGURE: [[Option<u8>; 4]; 4] = [
            [Some(0b00), Some(0b00), Some(0b00), None],
            [Some(0b10), Some(0b10), Some(0b01), Some(0b11)],
            [Some(0b01), Some(0b01), Some(0b01), Some(0b11)],
            [Some(0b11), Some(0b11), Some(0b11), Some(0b11)],
        ];
        for (i, inner) in ORDER.iter().enumerate() {
            for (o, outer) in ORDER.iter().enumerate() {
                let dscp = 0b1011_1000;
                let got = decapsulate(*outer | 0b0100_0000, dscp | inner).ok();
                assert_eq!(
                    got,
                    FIGURE[i][o].map(|ecn| dscp | ecn),
                    "{inner:02b} {outer:02b}"
                );
            }
        }
    }
}
