//! The bugs.

/// Frames the oracle is shown for each: many times what any of these bugs takes to be seen.
pub(super) const ORACLE_CASES: &str = "60000";

/// A test that must fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trap {
    /// What cargo is to test.
    pub(super) cargo: &'static [&'static str],
    /// Which tests of it.
    pub(super) filter: &'static str,
}

impl Trap {
    /// For people.
    pub(super) fn name(self) -> String {
        format!("{} {}", self.cargo[self.cargo.len() - 1], self.filter)
    }
}

const ORACLE: Trap = Trap {
    cargo: &["-p", "shipworm-tests", "--test", "oracle"],
    filter: "half_a_million_frames",
};
const CAPTURES: Trap = Trap {
    filter: "every_capture_of_real_nodes",
    ..ORACLE
};

const SERVER_ORACLE: Trap = Trap {
    filter: "datagrams_to_a_server",
    ..ORACLE
};
const SCAN: Trap = Trap {
    cargo: &["-p", "teredo", "--lib"],
    filter: "repeats_run_out_while_nobody_answers",
};

/// A bug and who catches it.
pub(super) struct Mutant {
    /// What is wrong.
    pub(super) bug: &'static str,
    /// Where.
    pub(super) file: &'static str,
    /// What stands there once.
    pub(super) find: &'static str,
    /// What is to stand there.
    pub(super) replace: &'static str,
    pub(super) trap: Trap,
}

pub(super) const MUTANTS: [Mutant; 16] = [
    Mutant {
        bug: "encap: the hop limit stays as it is",
        file: "relay-ebpf/src/encap.rs",
        find: "let hop_limit = inner.hop_limit - 1;",
        replace: "let hop_limit = inner.hop_limit;",
        trap: CAPTURES,
    },
    Mutant {
        bug: "encap: a UDP checksum over part of the packet is relied upon",
        file: "relay-ebpf/src/encap.rs",
        find: "&& udp.len() == usize::from(inner.payload_len())",
        replace: "&& udp.len() <= usize::from(inner.payload_len())",
        trap: ORACLE,
    },
    Mutant {
        bug: "encap: the tunnel MTU is one byte larger",
        file: "relay-ebpf/src/encap.rs",
        find: "if len > config::tunnel_mtu() {",
        replace: "if len > config::tunnel_mtu() + 1 {",
        trap: ORACLE,
    },
    Mutant {
        bug: "decap: a trailer without a value is overlooked",
        file: "relay-ebpf/src/decap.rs",
        find: "if payload_len > len {",
        replace: "if payload_len > len + 2 {",
        trap: ORACLE,
    },
    Mutant {
        bug: "decap: any port of the peer's NAT speaks for it",
        file: "relay-ebpf/src/decap.rs",
        find: "if from == peer.mapped {",
        replace: "if from.ip() == peer.mapped.ip() {",
        trap: ORACLE,
    },
    Mutant {
        bug: "datagrams: one may be longer than its packet",
        file: "relay-ebpf/src/datagram.rs",
        find: "|| udp_len + Ipv4Header::LEN > total_len",
        replace: "|| udp_len > total_len",
        trap: ORACLE,
    },
    Mutant {
        bug: "filter, of both paths: link-local sources are native hosts",
        file: "teredo/src/filter.rs",
        find: "if s.is_multicast() || s.is_link_local() || s.is_unspecified",
        replace: "if s.is_multicast() || s.is_unspecified",
        trap: ORACLE,
    },
    Mutant {
        bug: "state machine: a peer stays fresh for 31 s",
        file: "teredo/src/relay/peer.rs",
        find: "pub const PEER_FRESH: Duration = Duration::from_secs(30);",
        replace: "pub const PEER_FRESH: Duration = Duration::from_secs(31);",
        trap: ORACLE,
    },
    Mutant {
        bug: "state machine: no nonce answers no nonce",
        file: "teredo/src/relay/client.rs",
        find: "|| (sent.is_some() && sent == trailers.nonce)",
        replace: "|| sent == trailers.nonce",
        trap: ORACLE,
    },
    Mutant {
        bug: "state machine: what waited is not sent to where the answer came from",
        file: "teredo/src/relay/probing.rs",
        find: "self.flush(answered.queue, mapped);",
        replace: "self.flush(answered.queue, peer.mapped());",
        trap: ORACLE,
    },
    Mutant {
        bug: "table: the last place of a bucket is not looked at",
        file: "relay-common/src/lookup.rs",
        find: "for i in 0..WAYS {",
        replace: "for i in 0..WAYS - 1 {",
        trap: ORACLE,
    },
    Mutant {
        bug: "counters: a dropped packet is counted twice",
        file: "relay-ebpf/src/main.rs",
        find: "    counters::count(reason, bytes);",
        replace: "    counters::count(reason, bytes);\n    if action == xdp_action::XDP_DROP {\n        counters::count(reason, 0);\n    }",
        trap: ORACLE,
    },
    Mutant {
        bug: "access: the mapping that was learned is not asked about",
        file: "relay-ebpf/src/access.rs",
        find: "if others == access::UNRESTRICTED || mapped.ip() == peer.embedded().ip() {",
        replace: "if others == access::UNRESTRICTED || mapped.ip() != peer.embedded().ip() {",
        trap: ORACLE,
    },
    Mutant {
        bug: "server: the cone bit is not honoured",
        file: "relay-ebpf/src/server/advertise.rs",
        find: "let at = if has_cone_bit(&inner.source) {",
        replace: "let at = if false {",
        trap: SERVER_ORACLE,
    },
    Mutant {
        bug: "server: the checksum forgets the origin indication",
        file: "relay-ebpf/src/server/forward.rs",
        find: "        .add_u32(origin as u32)\n",
        replace: "",
        trap: SERVER_ORACLE,
    },
    Mutant {
        bug: "state machine: nobody need pay for a repeat",
        file: "teredo/src/relay/probing.rs",
        find: "} else if !is_new || self.is_repeat_paid(now, place) {",
        replace: "} else if !is_new || self.is_repeat_paid(now, place) || !is_over {",
        trap: SCAN,
    },
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sh::root;

    #[test]
    fn every_bug_has_one_place_in_the_tree() {
        for mutant in &MUTANTS {
            let text = fs::read_to_string(root().join(mutant.file)).expect("a file of the project");
            let places = text.matches(mutant.find).count();
            assert_eq!(places, 1, "{} in {}", mutant.bug, mutant.file);
        }
    }
}
