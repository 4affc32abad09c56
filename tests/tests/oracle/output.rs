//! What the fast path sends, held against what the reference says leaves.

use crate::case::{Port, Rules};
use crate::reference::bytes::{ipv4_header_is_right, u16_at, udp4_is_right, upper_sum};
use crate::reference::{Effect, Outcome};
use crate::rig::{GATEWAY_MAC, PORT_MAC, action};
use crate::routes::{self, ROUTE_REASONS, Route};

/// Bytes of the outer headers.
pub(crate) const OUTER: usize = 28;

/// Adds what the route excuses to a packet that would be carried.
pub(crate) fn excuse_by_route(outcome: &mut Outcome) {
    if !matches!(outcome.reason, "Encapsulated" | "Decapsulated") {
        return;
    }
    let Some((route, len)) = outcome.effects.iter().find_map(way) else {
        return;
    };
    match route {
        Route::Nowhere => outcome.excuses.extend(ROUTE_REASONS),
        Route::Through { mtu, .. } if len > mtu => outcome.excuses.push("PuntNextHopMtu"),
        Route::Through { .. } => {}
    }
}

/// Where a data packet goes, and how long it is there.
fn way(effect: &Effect) -> Option<(Route, usize)> {
    match effect {
        Effect::Datagram { to, payload, .. } => Some((routes::ipv4(to.0), OUTER + payload.len())),
        Effect::Native(packet) => {
            let destination = packet[24..40].try_into().ok()?;
            Some((routes::ipv6(destination), packet.len()))
        }
        Effect::Bubble { .. } | Effect::Error { .. } => None,
    }
}

/// Checks a frame that left. Gives the action it should leave with.
pub(crate) fn check(
    came_in: Port,
    rules: &Rules,
    outcome: &Outcome,
    out: &[u8],
) -> Result<u32, String> {
    let effect = outcome.effects.iter().find(|effect| way(effect).is_some());
    let effect = effect.expect("carried packets leave");
    let Some((Route::Through { port, tags, .. }, _)) = way(effect) else {
        return Err("sent where there is no route".into());
    };
    let (kind, network): ([u8; 2], _) = match effect {
        Effect::Native(packet) => {
            let mut packet = packet.clone();
            packet[7] -= 1;
            ([0x86, 0xdd], packet)
        }
        Effect::Datagram { to, tos, payload } => {
            ([0x08, 0x00], outer(rules.service, *to, *tos, payload))
        }
        Effect::Bubble { .. } | Effect::Error { .. } => unreachable!("no way leads there"),
    };
    let link = [&GATEWAY_MAC[..], &PORT_MAC, &tags.concat(), &kind].concat();
    let mut comparable = out.to_vec();
    if let (Effect::Datagram { payload, .. }, true) = (effect, out.len() >= link.len() + OUTER) {
        let sent = &mut comparable[link.len()..];
        check_sums(sent, payload)?;
        for own in [4..6, 10..12, 26..28] {
            sent[own].fill(0);
        }
    }
    let expected = [link, network].concat();
    if comparable != expected {
        return Err(format!("sent {comparable:02x?}, not {expected:02x?}"));
    }
    Ok(if port == came_in {
        action::TX
    } else {
        action::REDIRECT
    })
}

/// The outer packet (invariant 7), with zeros for the identification and both checksums.
pub(crate) fn outer(from: (u32, u16), to: (u32, u16), tos: u8, payload: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(8 + payload.len()).expect("a datagram");
    [
        &[0x45, tos][..],
        &(20 + udp_len).to_be_bytes(),
        &[0, 0, 0, 0, 64, 17, 0, 0],
        &from.0.to_be_bytes(),
        &to.0.to_be_bytes(),
        &from.1.to_be_bytes(),
        &to.1.to_be_bytes(),
        &udp_len.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat()
}

/// The identification is not 0 and the header's checksum right (invariant 7).
pub(crate) fn check_header(sent: &[u8]) -> Result<(), String> {
    if u16_at(sent, 4) == 0 {
        return Err("identification 0".into());
    }
    if !ipv4_header_is_right(sent) {
        return Err("the outer header's checksum is wrong".into());
    }
    Ok(())
}

/// The header is right. The UDP checksum is 0, or as right as the
/// inner one (invariant 6): nothing repairs what was wrong before.
fn check_sums(sent: &[u8], inner: &[u8]) -> Result<(), String> {
    check_header(sent)?;
    let udp = &sent[20..];
    let is_there = u16_at(udp, 6) != 0;
    let is_right = udp4_is_right(sent, udp);
    match (is_there, implied(inner)) {
        (false, None) => Ok(()),
        (true, Some(inner_is_right)) if is_right == inner_is_right => Ok(()),
        (is_there, implied) => Err(format!(
            "outer UDP checksum there: {is_there}, right: {is_right}, implied by the inner one: {implied:?}"
        )),
    }
}

/// Whether the packet's upper layer has a checksum over all of it that is not zero for none, and whether that is right.
fn implied(inner: &[u8]) -> Option<bool> {
    let (next, payload) = (inner[6], &inner[40..]);
    let has_sum = match next {
        6 => payload.len() >= 18,
        58 => payload.len() >= 4,
        17 => {
            payload.len() >= 8
                && u16_at(payload, 6) != 0
                && usize::from(u16_at(payload, 4)) == payload.len()
        }
        _ => false,
    };
    has_sum.then(|| upper_sum(inner, next) == 0xffff)
}
