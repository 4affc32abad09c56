//! What the server's program sends, held against what the reference says leaves.

use crate::case::Port;
use crate::output::{OUTER, check_header, outer};
use crate::reference::bytes::{ones_sum, u16_at, udp4_is_right};
use crate::reference::link;
use crate::reference::server::{Leaving, SERVER_PORT, Verdict};
use crate::rig::{GATEWAY_MAC, PORT_MAC, action};
use crate::routes::{self, Route};

/// The fast path may leave to the sockets what has no way it could take.
pub(crate) fn excuse_by_route(verdict: &mut Verdict) {
    // An advertisement goes back where the solicitation came from.
    let Some((to, len)) = verdict.way else {
        return;
    };
    verdict.may_pass |= match routes::ipv4(to) {
        Route::Nowhere => true,
        Route::Through { mtu, .. } => OUTER + len > mtu,
    };
}

/// Checks the frame that left for the one that came in. Gives the action it should leave with.
pub(crate) fn check(
    came_in: Port,
    frame: &[u8],
    verdict: &Verdict,
    out: &[u8],
) -> Result<u32, String> {
    let Some(Leaving::Datagram { from, to, payload }) = &verdict.leaving else {
        return Err("nothing should have left".into());
    };
    let at = link(frame).expect("a datagram came in").at;
    let is_answer = verdict.reason == "Advertised";
    let (link, port) = if is_answer {
        let turned = [&frame[6..12], &frame[..6], &frame[12..at]].concat();
        (turned, came_in)
    } else {
        let Route::Through { port, tags, .. } = routes::ipv4(to.0) else {
            return Err("sent where there is no route".into());
        };
        let link = [&GATEWAY_MAC[..], &PORT_MAC, &tags.concat(), &[8, 0]].concat();
        (link, port)
    };
    let expected = [&link[..], &outer((*from, SERVER_PORT), *to, 0, payload)].concat();
    let mut comparable = out.to_vec();
    if out.len() >= link.len() + OUTER {
        for own in [4..6, 10..12, 26..28] {
            comparable[link.len() + own.start..link.len() + own.end].fill(0);
        }
    }
    if comparable != expected {
        return Err(format!("sent {comparable:02x?}, not {expected:02x?}"));
    }
    let sent = &out[link.len()..];
    check_header(sent)?;
    if is_answer {
        if u16_at(sent, 26) == 0 || !udp4_is_right(sent, &sent[20..]) {
            return Err("the advertisement's UDP checksum is wrong".into());
        }
    } else {
        check_sum(&frame[at..], sent)?;
    }
    Ok(if port == came_in {
        action::TX
    } else {
        action::REDIRECT
    })
}

/// The datagram sent on has no UDP checksum if it came without, and else one that is wrong by as much as when it came: what is
/// damaged stays so (invariant 6).
fn check_sum(came: &[u8], sent: &[u8]) -> Result<(), String> {
    let has_sum = |packet: &[u8]| u16_at(packet, 26) != 0;
    if has_sum(came) != has_sum(sent) {
        return Err("a UDP checksum came or went".into());
    }
    if !has_sum(came) {
        return Ok(());
    }
    let error = |packet: &[u8]| {
        let udp = &packet[20..20 + usize::from(u16_at(packet, 24))];
        ones_sum(&[&packet[12..20], &[0, 17], &udp[4..6], udp]) % 0xffff
    };
    // Behind an authentication header of 13 bytes upper halves stood in lower ones.
    let is_odd = came[28..30] == [0, 1];
    let came = if is_odd {
        error(came).swap_bytes()
    } else {
        error(came)
    };
    if error(sent) == came {
        Ok(())
    } else {
        Err(format!(
            "a UDP checksum wrong by {came:04x} is now wrong by {:04x}",
            error(sent)
        ))
    }
}
