//! System packages: what each is for and how to see, without a package manager, whether it is there.

use std::path::Path;

use super::host::Host;

/// A package by its Debian name.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    probe: Probe,
}

/// What a package brings that is looked for; other distributions spread it differently.
enum Probe {
    /// A program.
    Program(&'static str),
    /// One of several files.
    File(&'static [&'static str]),
    /// A shared library of this name, in one of the directories (which may hold one `*`).
    Library(&'static [&'static str], &'static str),
}

use Probe::{File, Library, Program};

const fn package(name: &'static str, why: &'static str, probe: Probe) -> Package {
    Package { name, why, probe }
}

const LIBXDP: &str = "compiles the bundled libxdp and libbpf (AF_XDP)";

/// To build the `shipworm` binary.
pub(crate) const BUILD: &[Package] = &[
    package(
        "ca-certificates",
        "lets cargo and rustup verify downloads",
        CERTIFICATES,
    ),
    package("gcc", "links Rust programs", Program("cc")),
    package(
        "libc6-dev",
        "links Rust programs",
        File(&["/usr/include/stdlib.h"]),
    ),
    package("make", LIBXDP, Program("make")),
    package("m4", LIBXDP, Program("m4")),
    package("pkg-config", LIBXDP, Program("pkg-config")),
    package("clang", LIBXDP, Program("clang")),
    package("llvm", LIBXDP, Program("llc")),
    package(
        "libelf-dev",
        LIBXDP,
        File(&["/usr/include/libelf.h", "/usr/include/libelf/libelf.h"]),
    ),
    package("zlib1g-dev", LIBXDP, File(&["/usr/include/zlib.h"])),
    package("libpcap-dev", LIBXDP, File(&["/usr/include/pcap/pcap.h"])),
    package("libclang-dev", "generates the bindings to libxdp", LIBCLANG),
];

const CERTIFICATES: Probe = File(&[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
]);

const LIBCLANG: Probe = Library(
    &[
        "/usr/lib/llvm-*/lib",
        "/usr/lib/*",
        "/usr/lib64",
        "/usr/lib",
    ],
    "libclang",
);

const NATS: &str = "the NATs of the tests and the demo";
const LAB: &str = "builds the small internet of the tests and the demo";
const JUDGE: &str = "captures and judges packets in the tests";
const MIREDO: &str = "the Teredo clients and server the relay is tested with";

/// To run the network tests and the demo.
pub(crate) const NETWORK: &[Package] = &[
    package("iproute2", LAB, Program("ip")),
    package("util-linux", LAB, Program("nsenter")),
    package("procps", LAB, Program("sysctl")),
    package("ethtool", LAB, Program("ethtool")),
    package("nftables", NATS, Program("nft")),
    package("conntrack", NATS, Program("conntrack")),
    package(
        "iputils-ping",
        "sends the echo requests of the tests and the demo",
        Program("ping"),
    ),
    package("tcpdump", JUDGE, Program("tcpdump")),
    package("tshark", JUDGE, Program("tshark")),
    package("miredo", MIREDO, Program("miredo")),
    package("miredo-server", MIREDO, Program("miredo-server")),
];

/// To build the fuzzers.
pub(crate) const FUZZ: &[Package] = &[package("g++", "compiles libFuzzer", Program("c++"))];

/// Those of `packages` that are not there.
pub(crate) fn missing(host: &dyn Host, packages: &'static [Package]) -> Vec<&'static Package> {
    packages
        .iter()
        .filter(|package| !is_there(host, &package.probe))
        .collect()
}

fn is_there(host: &dyn Host, probe: &Probe) -> bool {
    match probe {
        Program(name) => host.program(name).is_some(),
        File(paths) => paths.iter().any(|path| host.exists(Path::new(path))),
        Library(directories, prefix) => directories.iter().any(|pattern| {
            expanded(host, pattern).iter().any(|directory| {
                host.names(Path::new(directory))
                    .iter()
                    .any(|name| is_shared_library(name, prefix))
            })
        }),
    }
}

/// `libclang.so`, `libclang-14.so.1`, but not `libclang.a` or `libclang-cpp.so`.
fn is_shared_library(name: &str, stem: &str) -> bool {
    let Some((base, _)) = name.split_once(".so") else {
        return false;
    };
    base.strip_prefix(stem)
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || "-.".contains(c)))
}

/// The directories a pattern with at most one `*` stands for.
fn expanded(host: &dyn Host, pattern: &str) -> Vec<String> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    host.names(Path::new(parent))
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .map(|name| format!("{parent}/{name}{after}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    fn names(packages: &[&Package]) -> Vec<&'static str> {
        packages.iter().map(|package| package.name).collect()
    }

    #[test]
    fn everything_is_missing_on_an_empty_machine() {
        let host = FakeHost::default();
        assert_eq!(missing(&host, BUILD).len(), BUILD.len());
        assert_eq!(missing(&host, NETWORK).len(), NETWORK.len());
    }

    #[test]
    fn a_package_is_there_when_what_it_brings_is_there() {
        let host = FakeHost::default()
            .file("/usr/bin/cc", "")
            .file("/usr/include/zlib.h", "")
            .file("/usr/lib/llvm-14/lib/libclang-14.so.1", "");
        let missing = names(&missing(&host, BUILD));
        for present in ["gcc", "zlib1g-dev", "libclang-dev"] {
            assert!(!missing.contains(&present), "{present} in {missing:?}");
        }
        assert!(missing.contains(&"libelf-dev"));
    }

    #[test]
    fn other_libraries_of_clang_are_not_taken_for_libclang() {
        let host = FakeHost::default()
            .file("/usr/lib/llvm-14/lib/libclang.a", "")
            .file("/usr/lib/llvm-14/lib/libclang-cpp.so.14", "");
        assert!(names(&missing(&host, BUILD)).contains(&"libclang-dev"));
        let host = FakeHost::default().file("/usr/lib/x86_64-linux-gnu/libclang-14.so.1", "");
        assert!(!names(&missing(&host, BUILD)).contains(&"libclang-dev"));
    }

    #[test]
    fn programs_of_the_administrator_are_seen() {
        let host = FakeHost::default().file("/usr/sbin/miredo-server", "");
        let missing = names(&missing(&host, NETWORK));
        assert!(!missing.contains(&"miredo-server"), "{missing:?}");
        assert!(missing.contains(&"miredo"), "{missing:?}");
    }
}
