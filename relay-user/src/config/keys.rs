//! The keys of the configuration file, which are also flags: of `relay`, and in the section `[server]` of `server`.

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Name in the file; the flag is this behind `--`.
    pub name: &'static str,
    /// What the file holds for it.
    pub form: &'static str,
    /// What holds when it is absent.
    pub default: &'static str,
    /// What it does.
    pub text: &'static str,
}

/// Every key of the relay, at the top level or in the section `[relay]`, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key {
        name: "iface",
        form: "list of strings, 1 to 64",
        default: "required",
        text: "Interfaces that carry Teredo or native IPv6 traffic. The XDP program is attached to each, and takes nothing \
               that is not the relay's. A VLAN device stands for its port, and a port for all VLAN devices on it.",
    },
    Key {
        name: "bind",
        form: "string, `IPV4` or `IPV4:PORT`",
        default: "first global IPv4 address of the interfaces, port 3545",
        text: "The one IPv4 address and UDP port everything to clients leaves from and comes back to. Port 3544 is refused: \
               clients take it for their server's.",
    },
    Key {
        name: "native-address",
        form: "string, `IPV6`",
        default: "first global IPv6 address of the interfaces",
        text: "Source address of the ICMPv6 errors sent to native IPv6 hosts. An address of this machine, not a Teredo address.",
    },
    Key {
        name: "datapath",
        form: "string: `xdp`, `xdp-generic`, `auto` or `userspace`",
        default: "xdp",
        text: "How packets are carried. `xdp` runs in the driver and refuses to start where the driver cannot. `xdp-generic` \
               works on any driver, slower. `auto` tries both, then user space; a fall-back is logged as a warning and shown by \
               `shipworm status`. `userspace` uses a UDP socket and a TUN device alone.",
    },
    Key {
        name: "allow-non-global",
        form: "list of strings, `CIDR`, at most 64",
        default: "none",
        text: "IPv4 ranges outside global unicast that clients and their servers may have all the same. For laboratories: a relay \
               on the internet needs none.",
    },
    Key {
        name: "native-allow",
        form: "list of strings, `CIDR`, at most 4096",
        default: "all",
        text: "IPv6 prefixes of native hosts that are served, as sources and as destinations. Where any is given, all others are \
               denied (`NativeDenied`).",
    },
    Key {
        name: "native-deny",
        form: "list of strings, `CIDR`, at most 4096",
        default: "none",
        text: "IPv6 prefixes of native hosts that are not served (`NativeDenied`).",
    },
    Key {
        name: "client-allow",
        form: "list of strings, `CIDR`, at most 4096",
        default: "all",
        text: "IPv4 prefixes of clients that are served, by the mapped address in their Teredo address and the one they speak \
               from. Where any is given, all others are denied (`ClientDenied`).",
    },
    Key {
        name: "client-deny",
        form: "list of strings, `CIDR`, at most 4096",
        default: "none",
        text: "IPv4 prefixes of clients that are not served (`ClientDenied`). The site's own public ranges belong here.",
    },
    Key {
        name: "server-allow",
        form: "list of strings, `CIDR`, at most 4096",
        default: "all",
        text: "IPv4 prefixes of Teredo servers whose clients are served. Where any is given, all others are denied \
               (`ServerDenied`).",
    },
    Key {
        name: "server-deny",
        form: "list of strings, `CIDR`, at most 4096",
        default: "none",
        text: "IPv4 prefixes of Teredo servers whose clients are not served (`ServerDenied`). The site's own public ranges \
               belong here.",
    },
    Key {
        name: "max-peers",
        form: "number of peers, 1 to 67108864",
        default: "1048576",
        text: "Peers trusted at the same time. About 50 bytes of kernel memory each are taken at start. When the table is full, \
               new peers are dropped (`PeerTableFull`) and established ones keep working.",
    },
    Key {
        name: "shards",
        form: "number of shards, 1 to 64",
        default: "1",
        text: "State machines the slow path has, each with its own lock and part of the peers; more let more cores work on \
               new peers. The limits below are shared out to them, rounded up, so that together they keep them; only what \
               one NAT mapping gets (R-29) is counted by each.",
    },
    Key {
        name: "new-peers-per-s",
        form: "number of peers a second, 1 to 10000000",
        default: "2000",
        text: "New peers that are probed, in the long run (`NewPeerRateExceeded`). Each is remembered for two seconds, in \
               40 bytes.",
    },
    Key {
        name: "new-peers-burst",
        form: "number of peers, 1 to 10000000",
        default: "20000",
        text: "New peers that may come at once.",
    },
    Key {
        name: "server-bubbles-per-s",
        form: "number of bubbles a second, 1 to 10000000",
        default: "100",
        text: "Bubbles sent to one Teredo server, in the long run (`BubbleRateExceeded`); a quarter is left to peers heard \
               before.",
    },
    Key {
        name: "server-bubbles-burst",
        form: "number of bubbles, 1 to 10000000",
        default: "20000",
        text: "Bubbles to one server that may go at once.",
    },
    Key {
        name: "repeats-per-s",
        form: "number of bubbles a second, 0 to 10000000",
        default: "10",
        text: "Repeats of bubbles to new peers, in the long run, beyond those that are paid for: each answer pays for three, each \
               packet that waits beside the first for one.",
    },
    Key {
        name: "repeats-burst",
        form: "number of bubbles, 0 to 10000000",
        default: "200",
        text: "Repeats of bubbles to new peers that may go while nobody answers. Then a packet for a client that does not exist \
               makes one bubble, not four.",
    },
    Key {
        name: "pending-peers",
        form: "number of peers, 1 to 16777216",
        default: "65536",
        text: "Peers being probed or remembered as blocked, 150 bytes each as they come. When they are as many, blocked \
               ones are forgotten, then new peers dropped (`PeerTableFull`).",
    },
    Key {
        name: "unanswered-per-source-prefix",
        form: "number of peers, 1 to 16777216",
        default: "64",
        text: "Peers without an answer that the hosts of one native /64 may ask for at the same time \
               (`SourcePrefixLimitExceeded`).",
    },
    Key {
        name: "queue-packets-per-peer",
        form: "number of packets, 1 to 4096",
        default: "16",
        text: "Packets that wait for one peer (`PeerQueueFull`).",
    },
    Key {
        name: "queue-bytes-per-peer",
        form: "number of bytes, 1280 to 16777216",
        default: "16384",
        text: "Bytes that wait for one peer (`PeerQueueFull`).",
    },
    Key {
        name: "queue-bytes-total",
        form: "number of bytes, 1280 to 4294967296",
        default: "8388608",
        text: "Bytes that wait for all peers (`QueueMemoryFull`). They stand in blocks of 128 bytes, so that small packets \
               take up to three times as much memory.",
    },
    Key {
        name: "icmp6-per-s",
        form: "number of errors a second, 0 to 1000000",
        default: "10",
        text: "ICMPv6 errors sent, in the long run.",
    },
    Key {
        name: "icmp6-burst",
        form: "number of errors, 0 to 1000000",
        default: "10",
        text: "ICMPv6 errors that may go at once. 0: none at all.",
    },
    Key {
        name: "socket",
        form: "string, path of at most 107 bytes",
        default: super::DEFAULT_SOCKET,
        text: "Control socket that `shipworm status` and `shipworm peers` ask. Mode 0660.",
    },
    Key {
        name: "log",
        form: "string: `error`, `warn`, `info`, `debug` or `trace`",
        default: "info",
        text: "Least severity that is logged, on standard error.",
    },
    Key {
        name: "log-format",
        form: "string: `text` or `json`",
        default: "text",
        text: "`text` for people, `json` for collectors: one object a line.",
    },
    Key {
        name: "zero-copy",
        form: "`true` or `false`",
        default: "false",
        text: "Bind AF_XDP sockets in zero-copy mode where the driver can. Only the slow path uses them, so little is gained, and \
               some drivers are known to fail in it.",
    },
    Key {
        name: "pin-dir",
        form: "string, absolute path, or `none`",
        default: crate::datapath::DEFAULT_PIN_DIR,
        text: "Directory on a BPF file system in which program and peers outlive the daemon: if it dies, established peers keep \
               flowing, and the next start goes on with them. `none`: they end with it.",
    },
    Key {
        name: "sandbox",
        form: "`true` or `false`",
        default: "true",
        text: "Give up what a running daemon does not use: it keeps `CAP_NET_ADMIN`, opens no files, starts no programs and makes \
               no system call but those listed. `false` is for finding out whether the sandbox is in the way of something.",
    },
];

/// Every key of the section `[server]`, which are also the flags of `server`.
pub const SERVER_KEYS: &[Key] = &[
    Key {
        name: "iface",
        form: "list of strings, 1 to 64",
        default: "that of the file's top level, or required",
        text: "Interfaces at which clients' packets arrive. The XDP program is attached to each. With `run` those of the relay.",
    },
    Key {
        name: "primary",
        form: "string, `IPV4`",
        default: "required",
        text: "The server's address, which clients are configured with and which is in their Teredo addresses (S-1, S-2). \
               An address of this machine; UDP port 3544 on it.",
    },
    Key {
        name: "secondary",
        form: "string, `IPV4`",
        default: "primary + 1",
        text: "Its second address, from which a client is answered that wants to know how its NAT filters (S-10). Some clients \
               take it for primary + 1 without asking.",
    },
    Key {
        name: "datapath",
        form: "string: `xdp`, `xdp-generic`, `auto` or `userspace`",
        default: "xdp",
        text: "As the relay's. `userspace` uses UDP sockets alone. With `run` that of the relay.",
    },
    Key {
        name: "allow-non-global",
        form: "list of strings, `CIDR`, at most 64",
        default: "none",
        text: "IPv4 ranges outside global unicast that clients, relays and this server may have all the same. For laboratories.",
    },
    Key {
        name: "secret-file",
        form: "string, path",
        default: "none",
        text: "File with client ids and their secrets for secure qualification (S-20). Readable by its owner alone.",
    },
    Key {
        name: "require-auth",
        form: "`true` or `false`",
        default: "false",
        text: "Answer only clients that prove they know their secret (`CredentialsMissing`). Takes `secret-file`.",
    },
    Key {
        name: "source-per-s",
        form: "number of packets a second, 1 to 10000000",
        default: "1000",
        text: "Bubbles and ICMPv6 messages from one IPv4 address that are sent on to clients, in the long run \
               (`OuterSourceRateExceeded`). A relay has one address for all it looks for. The XDP program counts on each CPU for itself.",
    },
    Key {
        name: "source-burst",
        form: "number of packets, 1 to 10000000",
        default: "20000",
        text: "Those of one IPv4 address that may come at once.",
    },
    Key {
        name: "target-per-s",
        form: "number of packets a second, 1 to 10000000",
        default: "200",
        text: "Packets for one IPv4 address of clients, in the long run (`TargetRateExceeded`): advertisements and what is sent on to it, \
               echoes to native IPv6 from it. A client behind it asks for an advertisement in thirty seconds.",
    },
    Key {
        name: "target-burst",
        form: "number of packets, 1 to 10000000",
        default: "400",
        text: "Those for one IPv4 address that may come at once.",
    },
    Key {
        name: "native-per-s",
        form: "number of echoes a second, 0 to 10000000",
        default: "1000",
        text: "Echoes sent on to native IPv6 for all clients together, in the long run (`NativeRateExceeded`).",
    },
    Key {
        name: "native-burst",
        form: "number of echoes, 0 to 10000000",
        default: "2000",
        text: "Echoes to native IPv6 that may go at once. 0: none at all.",
    },
    Key {
        name: "socket",
        form: "string, path of at most 107 bytes",
        default: super::DEFAULT_SERVER_SOCKET,
        text: "Control socket that `shipworm status --socket` asks. Mode 0660. With `run` that of the relay.",
    },
    Key {
        name: "log",
        form: "string: `error`, `warn`, `info`, `debug` or `trace`",
        default: "info",
        text: "Least severity that is logged, on standard error. With `run` that of the relay.",
    },
    Key {
        name: "log-format",
        form: "string: `text` or `json`",
        default: "text",
        text: "As the relay's. With `run` that of the relay.",
    },
    Key {
        name: "sandbox",
        form: "`true` or `false`",
        default: "true",
        text: "As the relay's. With `run` that of the relay.",
    },
];

/// The key of `keys` a wrong name was probably meant for.
pub(super) fn nearest(name: &str, keys: &[Key]) -> Option<&'static str> {
    /// Below this two names have little in common (Jaro-Winkler, 0 to 1).
    const ALIKE: f64 = 0.75;
    keys.iter()
        .map(|key| (strsim::jaro_winkler(name, key.name), key.name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::config::{MAX_ACCESS_PREFIXES, MAX_ALLOW_NON_GLOBAL, MAX_IFACES, MAX_MAX_PEERS};
    use crate::docs;

    fn key(name: &str) -> &'static Key {
        KEYS.iter().find(|k| k.name == name).expect("a key")
    }

    #[test]
    fn a_slip_of_the_pen_finds_its_key() {
        for (slip, meant) in [
            ("max-peer", "max-peers"),
            ("max_peers", "max-peers"),
            ("ifaces", "iface"),
            ("log_format", "log-format"),
            ("native_addr", "native-address"),
            ("data-path", "datapath"),
            ("zerocopy", "zero-copy"),
        ] {
            assert_eq!(nearest(slip, KEYS), Some(meant), "{slip}");
        }
        assert_eq!(nearest("primry", SERVER_KEYS), Some("primary"));
        assert_eq!(nearest("qqq", KEYS), None);
    }

    #[test]
    fn the_bounds_named_in_the_table_are_those_of_the_code() {
        assert!(key("max-peers").form.contains(&MAX_MAX_PEERS.to_string()));
        assert!(key("iface").form.contains(&MAX_IFACES.to_string()));
        assert!(
            key("allow-non-global")
                .form
                .contains(&MAX_ALLOW_NON_GLOBAL.to_string())
        );
        for list in ["native-allow", "client-deny", "server-deny"] {
            assert!(key(list).form.contains(&MAX_ACCESS_PREFIXES.to_string()));
        }
    }

    #[test]
    fn the_packaged_examples_have_every_key_with_its_default() {
        let relay = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/relay.toml");
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/server.toml");
        example_has_every_key(relay, KEYS);
        example_has_every_key(server, SERVER_KEYS);
    }

    fn example_has_every_key(path: &str, keys: &[Key]) {
        let text = std::fs::read_to_string(path).expect("the example");
        for key in keys {
            let line = text
                .lines()
                .find(|line| {
                    line.trim_start_matches('#')
                        .starts_with(&format!("{} = ", key.name))
                })
                .unwrap_or_else(|| panic!("no {}", key.name));
            if key.default.parse::<u64>().is_ok() {
                assert_eq!(line, format!("#{} = {}", key.name, key.default));
            }
        }
    }

    fn table(keys: &[Key]) -> String {
        let mut table = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
        for key in keys {
            writeln!(
                table,
                "| `{}` | {} | {} | {} |",
                key.name,
                key.form,
                docs::default_cell(key.default),
                key.text
            )
            .expect("writing to a string");
        }
        table
    }

    #[test]
    fn the_documentation_has_every_key_with_its_default() {
        docs::assert_generated("configuration.md", "keys", &table(KEYS));
        docs::assert_generated("configuration.md", "server-keys", &table(SERVER_KEYS));
    }
}
