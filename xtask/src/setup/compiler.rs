//! The compiler of the XDP program.
//!
//! No toolchain ships `core` for the BPF target, so it is built from source: what is needed is a rustc with
//! the library sources of exactly its version. A nightly with `rust-src` has them; so does a distribution's
//! rustc with its source package, once `RUSTC_BOOTSTRAP` lets it build `core`.

use std::path::{Path, PathBuf};

use super::apt;
use super::host::{Host, version_in};

/// The name under which a distribution's rustc is made known to rustup.
pub(crate) const LINKED: &str = "ebpf";

/// What the build script of relay-user reads; it holds the rustup toolchain.
pub(crate) const TOOLCHAIN_VAR: &str = "EBPF_TOOLCHAIN";
/// What the build script of relay-user reads; `1` lets a stable compiler build `core`.
pub(crate) const BOOTSTRAP_VAR: &str = "EBPF_BOOTSTRAP";

/// A compiler the XDP program can be built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// Its name in rustup; `None` is the rustc in `PATH` of a machine without rustup.
    pub(crate) toolchain: Option<String>,
    /// Directory above `bin/` and `lib/`.
    pub(crate) sysroot: PathBuf,
    /// Not a nightly: must be told to allow unstable features.
    pub(crate) bootstrap: bool,
    /// Its version.
    pub(crate) release: (u32, u32, u32),
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
}

impl Compiler {
    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        let (major, minor, patch) = self.release;
        let name = match &self.toolchain {
            Some(name) => format!("rustup toolchain `{name}`"),
            None => "the system's rustc".to_owned(),
        };
        format!("{name}, rustc {major}.{minor}.{patch}, LLVM {}", self.llvm)
    }

    /// A cargo configuration that tells the build script of relay-user about this compiler.
    pub(crate) fn cargo_config(&self) -> String {
        let mut config = String::from(
            "# Written by `cargo xtask setup`: the compiler of the XDP program on this machine.\n[env]\n",
        );
        if let Some(name) = &self.toolchain {
            config += &format!("{TOOLCHAIN_VAR} = \"{name}\"\n");
        }
        config += &format!("{BOOTSTRAP_VAR} = \"{}\"\n", u8::from(self.bootstrap));
        config
    }
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Ready to use.
    Ready(Compiler),
    /// A system rustc rustup does not know yet.
    Unlinked(Compiler),
    /// None, or not the one `EBPF_TOOLCHAIN` asks for: why not.
    Missing(String),
}

/// The best compiler on `host`: the one `EBPF_TOOLCHAIN` names; else a nightly of rustup, another toolchain of
/// rustup, the system's.
pub(crate) fn find(host: &dyn Host) -> Found {
    let has_rustup = host.program("rustup").is_some();
    let toolchains = if has_rustup {
        rustup_toolchains(host)
    } else {
        Vec::new()
    };
    if let Some(wanted) = host.var(TOOLCHAIN_VAR) {
        let compiler = toolchains
            .iter()
            .find(|(name, _)| *name == wanted || name.starts_with(&format!("{wanted}-")))
            .and_then(|(name, sysroot)| inspect(host, Some(name), sysroot));
        return match compiler {
            Some(compiler) => Found::Ready(compiler),
            None => Found::Missing(format!(
                "{TOOLCHAIN_VAR} names `{wanted}`, which is not a toolchain of rustup with rust-src and at least {}",
                minimum_text()
            )),
        };
    }
    let (nightly, other): (Vec<_>, Vec<_>) = toolchains
        .iter()
        .partition(|(name, _)| name.starts_with("nightly"));
    let of_rustup = nightly
        .into_iter()
        .chain(other)
        .find_map(|(name, sysroot)| inspect(host, Some(name), sysroot));
    if let Some(compiler) = of_rustup {
        return Found::Ready(compiler);
    }
    match inspect(host, None, &system_sysroot(host, has_rustup)) {
        Some(compiler) if has_rustup => Found::Unlinked(Compiler {
            toolchain: Some(LINKED.to_owned()),
            ..compiler
        }),
        Some(compiler) => Found::Ready(compiler),
        None => Found::Missing(format!(
            "no rustc of at least {} with its library sources (rust-src)",
            minimum_text()
        )),
    }
}

/// Debian packages of a rustc and its sources that are new enough, if apt has any.
pub(crate) fn packages(host: &dyn Host) -> Option<[&'static str; 2]> {
    [["rustc-web", "rust-web-src"], ["rustc", "rust-src"]]
        .into_iter()
        .find(|pair| {
            let versions = pair.map(|package| apt::candidate(host, package));
            versions[0].is_some_and(|version| version >= minimum()) && versions[0] == versions[1]
        })
}

/// The rustc the workspace asks for: the XDP program is built from crates of it.
fn minimum() -> (u32, u32, u32) {
    version_in(env!("CARGO_PKG_RUST_VERSION")).unwrap_or_default()
}

fn minimum_text() -> &'static str {
    env!("CARGO_PKG_RUST_VERSION")
}

/// Names and directories of rustup's toolchains.
fn rustup_toolchains(host: &dyn Host) -> Vec<(String, PathBuf)> {
    let list = host
        .output("rustup", &["toolchain", "list", "-v"])
        .unwrap_or_default();
    list.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace)?;
            let directory = &rest[rest.find('/')?..];
            Some((name.to_owned(), PathBuf::from(directory.trim())))
        })
        .collect()
}

/// With rustup, the rustc in `PATH` is its proxy.
fn system_sysroot(host: &dyn Host, has_rustup: bool) -> PathBuf {
    let printed = if has_rustup {
        None
    } else {
        host.output("rustc", &["--print", "sysroot"])
    };
    PathBuf::from(printed.as_deref().map_or("/usr", str::trim))
}

/// The compiler at `sysroot`, if it can build the XDP program.
fn inspect(host: &dyn Host, toolchain: Option<&str>, sysroot: &Path) -> Option<Compiler> {
    let sources = sysroot.join("lib/rustlib/src/rust");
    if !host.exists(&sources.join("library/core/src/lib.rs")) {
        return None;
    }
    let printed = host.output(sysroot.join("bin/rustc").to_str()?, &["-vV"])?;
    let field = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name));
    let release_text = field("release: ")?;
    let release = version_in(release_text)?;
    // The source packages of distributions say which version they are; rustup keeps its own in step.
    let of_sources = host.text(&sources.join("src/version"));
    if of_sources.is_some_and(|text| version_in(&text) != Some(release)) || release < minimum() {
        return None;
    }
    Some(Compiler {
        toolchain: toolchain.map(str::to_owned),
        sysroot: sysroot.to_owned(),
        bootstrap: !release_text.contains("nightly") && !release_text.contains("dev"),
        release,
        llvm: version_in(field("LLVM version: ")?)?.0,
    })
}

#[cfg(test)]
mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    const TOOLCHAINS: &str = "\
stable-x86_64-unknown-linux-gnu (active, default) /rustup/toolchains/stable-x86_64-unknown-linux-gnu
nightly-x86_64-unknown-linux-gnu /rustup/toolchains/nightly-x86_64-unknown-linux-gnu
";
    const NIGHTLY: &str = "/rustup/toolchains/nightly-x86_64-unknown-linux-gnu";
    const STABLE: &str = "/rustup/toolchains/stable-x86_64-unknown-linux-gnu";
    const SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

    fn rustc(release: &str, llvm: &str) -> String {
        format!("rustc {release}\nbinary: rustc\nrelease: {release}\nLLVM version: {llvm}\n")
    }

    fn with_rustup() -> FakeHost {
        FakeHost::default()
            .file("/cargo/bin/rustup", "")
            .output("rustup toolchain list -v", TOOLCHAINS)
            .output(
                &format!("{NIGHTLY}/bin/rustc -vV"),
                &rustc("1.97.0-nightly", "22.1.4"),
            )
            .output(
                &format!("{STABLE}/bin/rustc -vV"),
                &rustc("1.95.0", "22.1.2"),
            )
    }

    fn with_debian(host: FakeHost) -> FakeHost {
        host.file(&format!("/usr/{SOURCE}"), "")
            .output("/usr/bin/rustc -vV", &rustc("1.96.0", "22.1.8"))
    }

    fn ready(found: Found) -> Compiler {
        match found {
            Found::Ready(compiler) => compiler,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_nightly_with_its_sources_comes_first() {
        let host = with_rustup()
            .file(&format!("{NIGHTLY}/{SOURCE}"), "")
            .file(&format!("{STABLE}/{SOURCE}"), "");
        let compiler = ready(find(&with_debian(host)));
        assert_eq!(
            compiler.toolchain.as_deref(),
            Some("nightly-x86_64-unknown-linux-gnu")
        );
        assert_eq!((compiler.release, compiler.llvm), ((1, 97, 0), 22));
        assert!(!compiler.bootstrap);
    }

    #[test]
    fn a_stable_toolchain_with_its_sources_is_told_to_allow_unstable_features() {
        let compiler = ready(find(&with_rustup().file(&format!("{STABLE}/{SOURCE}"), "")));
        assert!(compiler.bootstrap);
        assert!(compiler.cargo_config().contains("EBPF_BOOTSTRAP = \"1\""));
    }

    #[test]
    fn a_system_rustc_must_be_linked_to_rustup() {
        match find(&with_debian(with_rustup())) {
            Found::Unlinked(compiler) => assert_eq!(compiler.toolchain.as_deref(), Some(LINKED)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_system_rustc_serves_without_rustup() {
        let host = with_debian(FakeHost::default()).output("rustc --print sysroot", "/usr\n");
        let compiler = ready(find(&host));
        assert_eq!(compiler.toolchain, None);
        assert!(!compiler.cargo_config().contains(TOOLCHAIN_VAR));
    }

    #[test]
    fn sources_of_another_version_do_not_count() {
        let version = "/usr/lib/rustlib/src/rust/src/version";
        let host = with_debian(FakeHost::default()).file(version, "1.95.0\n");
        assert!(matches!(find(&host), Found::Missing(_)));
        let host = with_debian(FakeHost::default()).file(version, "1.96.0\n");
        assert!(matches!(find(&host), Found::Ready(_)));
    }

    #[test]
    fn a_compiler_older_than_the_workspace_asks_for_does_not_count() {
        let host = FakeHost::default()
            .file(&format!("/usr/{SOURCE}"), "")
            .output("/usr/bin/rustc -vV", &rustc("1.85.0", "19.1.7"));
        assert!(matches!(find(&host), Found::Missing(_)));
    }

    #[test]
    fn the_toolchain_named_by_the_user_is_taken_or_refused_but_never_replaced() {
        let nightly = with_rustup().file(&format!("{NIGHTLY}/{SOURCE}"), "");
        let compiler = ready(find(&nightly.var(TOOLCHAIN_VAR, "nightly")));
        assert_eq!(compiler.sysroot, Path::new(NIGHTLY));
        let nightly = with_rustup().file(&format!("{NIGHTLY}/{SOURCE}"), "");
        assert!(matches!(
            find(&nightly.var(TOOLCHAIN_VAR, "stable")),
            Found::Missing(_)
        ));
    }

    #[test]
    fn toolchains_are_listed_by_old_and_new_rustup() {
        let host = FakeHost::default().output(
            "rustup toolchain list -v",
            "stable-x86_64 (default)\t/a/stable\nebpf /usr\nbroken\n",
        );
        let expected = [("stable-x86_64", "/a/stable"), ("ebpf", "/usr")];
        assert_eq!(
            rustup_toolchains(&host),
            expected.map(|(n, d)| (n.to_owned(), d.into()))
        );
    }

    #[test]
    fn debian_packages_are_taken_when_both_are_new_enough() {
        let policy = |version: &str| format!("x:\n  Candidate: {version}\n");
        let host = FakeHost::default()
            .output("apt-cache policy rustc-web", &policy("1.96.0+dfsg1-1"))
            .output("apt-cache policy rust-web-src", &policy("1.96.0+dfsg1-1"));
        assert_eq!(packages(&host), Some(["rustc-web", "rust-web-src"]));
        let old = FakeHost::default()
            .output("apt-cache policy rustc", &policy("1.85.0"))
            .output("apt-cache policy rust-src", &policy("1.85.0"));
        assert_eq!(packages(&old), None);
    }
}
