//! tshark as the judge of checksums, the inner ones included.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{Pcap, RELAY_PORT};

/// Frames whose checksums tshark found right, by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Frames read.
    pub frames: usize,
    /// Frames that carry Teredo.
    pub teredo: usize,
    /// IPv4 headers.
    pub ipv4: usize,
    /// UDP datagrams, outer and inner.
    pub udp: usize,
    /// Outer UDP datagrams without a checksum, which IPv4 allows.
    pub udp_absent: usize,
    /// TCP segments.
    pub tcp: usize,
    /// ICMPv6 messages.
    pub icmp6: usize,
}

/// tshark's value for a checksum that is wrong.
const BAD: &str = "0";
const GOOD: &str = "1";
/// Not there, which only UDP over IPv4 may do.
const ABSENT: &str = "3";
/// Zero in UDP over IPv6.
const ILLEGAL: &str = "4";

impl Pcap {
    /// Checks every IPv4, UDP, TCP and ICMPv6 checksum of the capture, inside Teredo too.
    ///
    /// # Errors
    /// A checksum is wrong, the capture is empty, or tshark cannot read it.
    pub fn assert_checksums_right(&self) -> Result<Verdict> {
        assert_checksums_right(&self.path)
    }

    /// The values of tshark `fields` in every frame that passes a display `filter`: one line
    /// a frame, fields separated by tabs, occurrences by commas.
    ///
    /// # Errors
    /// tshark does not know the filter or a field.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<String>> {
        let mut arguments = vec!["-Y", filter];
        arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
        let table = tshark(&self.path, &arguments)?;
        Ok(table.lines().map(str::to_owned).collect())
    }
}

/// Checks every IPv4, UDP, TCP and ICMPv6 checksum of a capture, inside Teredo too.
///
/// # Errors
/// A checksum is wrong, the capture is empty, or tshark cannot read it.
pub fn assert_checksums_right(pcap: &Path) -> Result<Verdict> {
    let fields = [
        "frame.number",
        "frame.protocols",
        "ip.checksum.status",
        "udp.checksum.status",
        "tcp.checksum.status",
        "icmpv6.checksum.status",
    ];
    let verdict = judge(&tshark(pcap, &fields.map(|field| ["-e", field]).concat())?)?;
    ensure!(verdict.frames > 0, "the capture is empty");
    Ok(verdict)
}

/// A table of fields, with Teredo decoded on the relay's port and all checksums checked.
fn tshark(pcap: &Path, arguments: &[&str]) -> Result<String> {
    let decode = format!("udp.port=={RELAY_PORT},teredo");
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(pcap)
        .args(["-d", &decode, "-T", "fields", "-E", "occurrence=a"])
        .args(["-o", "ip.check_checksum:TRUE"])
        .args(["-o", "udp.check_checksum:TRUE"])
        .args(["-o", "tcp.check_checksum:TRUE"])
        .args(arguments)
        .output()
        .context("cannot run tshark")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark: {stderr}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn judge(table: &str) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for line in table.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        let &[frame, protocols, ipv4, udp, tcp, icmp6] = columns.as_slice() else {
            bail!("tshark printed: {line}");
        };
        // What an error quotes is the packet as the kernel had it: its checksum may be left to a device it never reached.
        let (udp, tcp, icmp6) = if protocols.contains("icmpv6:ipv6") {
            let (first, _) = icmp6.split_once(',').unwrap_or((icmp6, ""));
            ("", "", first)
        } else {
            (udp, tcp, icmp6)
        };
        for (name, statuses) in [
            ("IPv4", ipv4),
            ("UDP", udp),
            ("TCP", tcp),
            ("ICMPv6", icmp6),
        ] {
            if statuses.split(',').any(|s| s == BAD || s == ILLEGAL) {
                bail!("frame {frame} ({protocols}): wrong {name} checksum");
            }
        }
        verdict.frames += 1;
        verdict.teredo += usize::from(protocols.contains("teredo"));
        verdict.ipv4 += count(ipv4, GOOD);
        verdict.udp += count(udp, GOOD);
        verdict.udp_absent += count(udp, ABSENT);
        verdict.tcp += count(tcp, GOOD);
        verdict.icmp6 += count(icmp6, GOOD);
    }
    Ok(verdict)
}

fn count(statuses: &str, wanted: &str) -> usize {
    statuses.split(',').filter(|s| *s == wanted).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_checksums_are_counted_by_protocol() {
        let table = "1\teth:ip:udp:teredo:ipv6:icmpv6\t1\t3\t\t1\n2\teth:ip:udp:teredo:ipv6:udp\t1\t1,1\t\t\n";
        let expected = Verdict {
            frames: 2,
            teredo: 2,
            ipv4: 2,
            udp: 2,
            udp_absent: 1,
            tcp: 0,
            icmp6: 1,
        };
        assert_eq!(judge(table).unwrap(), expected);
    }

    #[test]
    fn a_wrong_inner_checksum_is_named_with_its_frame() {
        let error = judge("7\teth:ip:udp:teredo:ipv6:udp\t1\t1,0\t\t\n").unwrap_err();
        assert!(error.to_string().starts_with("frame 7"), "{error}");
    }

    #[test]
    fn a_packet_that_an_error_quotes_is_not_judged_but_the_error_is() {
        let quote = "3\teth:ethertype:ipv6:icmpv6:ipv6:tcp:data\t\t\t0\t1\n";
        assert_eq!(judge(quote).unwrap().icmp6, 1);
        let wrong = "3\teth:ethertype:ipv6:icmpv6:ipv6:icmpv6\t\t\t\t0,1\n";
        assert!(judge(wrong).is_err());
    }

    #[test]
    fn a_udp_checksum_of_zero_over_ipv6_is_wrong() {
        assert!(judge("1\teth:ipv6:udp\t\t4\t\t\n").is_err());
    }
}
