//! bpf-linker, which makes one BPF object of what the compiler emits.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::compiler::Compiler;
use super::host::{Host, version_in};
use crate::sh::{cargo, root};

/// The release we build and test with; a newer one serves too.
const RELEASE: &str = "0.13.0";
/// The newest LLVM that release knows.
const NEWEST_LLVM: u32 = 23;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It runs, is recent enough and reads what the compiler writes.
    Ready(String),
    /// Why it must be installed.
    Missing(String),
}

/// Looks for a bpf-linker that fits `compiler`, if that is known already.
pub(crate) fn find(host: &dyn Host, compiler: Option<&Compiler>) -> Found {
    let Some(path) = host.program("bpf-linker") else {
        return Found::Missing(
            match cargo_bin(host).filter(|bin| host.exists(&bin.join("bpf-linker"))) {
                Some(bin) => format!("it is in {}, which is not in PATH", bin.display()),
                None => "not installed".to_owned(),
            },
        );
    };
    let path = path.to_string_lossy().into_owned();
    let Some(version) = host.output(&path, &["--version"]) else {
        return Found::Missing(format!(
            "{path} does not start (the LLVM it was built for may be gone)"
        ));
    };
    if version_in(&version) < version_in(RELEASE) {
        return Found::Missing(format!("{} is older than {RELEASE}", version.trim()));
    }
    // A statically linked one is a published binary, which follows the newest LLVM.
    let llvm = host
        .output("ldd", &[&path])
        .as_deref()
        .and_then(linked_llvm);
    if let (Some(own), Some(compiler)) = (llvm, compiler)
        && own < compiler.llvm
    {
        return Found::Missing(format!(
            "built for LLVM {own}, but the eBPF compiler writes LLVM {}",
            compiler.llvm
        ));
    }
    Found::Ready(version.trim().to_owned())
}

/// Builds and installs it against the LLVM of `compiler`.
///
/// # Errors
/// The build failed, for example without a network.
pub(crate) fn install(host: &dyn Host, compiler: &Compiler) -> Result<()> {
    let llvm = compiler.llvm;
    let mut cargo =
        cargo("install bpf-linker").args(["install", "bpf-linker", "--locked", "--force"]);
    // Newer LLVMs are known to newer releases alone.
    if llvm <= NEWEST_LLVM {
        cargo = cargo.args(["--version", RELEASE]);
    }
    cargo = cargo.args([
        "--no-default-features",
        "--features",
        &format!("llvm-{llvm}"),
    ]);
    if let Some(library) = llvm_library(host, compiler) {
        let prefix = root().join(format!("target/llvm-{llvm}"));
        let link = prefix.join("lib/libLLVM.so");
        fs::create_dir_all(prefix.join("lib"))
            .with_context(|| format!("cannot create {}", prefix.display()))?;
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        symlink(&library.path, &link)
            .with_context(|| format!("cannot create {}", link.display()))?;
        cargo = cargo.env("LLVM_PREFIX", &prefix);
        if let Some(directory) = library.rpath {
            cargo = cargo.env(
                "RUSTFLAGS",
                format!("-Clink-arg=-Wl,-rpath,{}", directory.display()),
            );
        }
    }
    cargo.run()
}

/// A shared LLVM.
#[derive(Debug, PartialEq, Eq)]
struct Library {
    path: PathBuf,
    /// Its directory, where the loader would not look by itself.
    rpath: Option<PathBuf>,
}

/// The LLVM `compiler` itself uses. rustup's toolchains bring it; a distribution installs it as a package.
fn llvm_library(host: &dyn Host, compiler: &Compiler) -> Option<Library> {
    let prefix = format!("libLLVM.so.{}.", compiler.llvm);
    let library_in = |directory: &Path| {
        let name = host
            .names(directory)
            .into_iter()
            .find(|name| name.starts_with(&prefix))?;
        Some(directory.join(name))
    };
    let own = compiler.sysroot.join("lib");
    if compiler.sysroot != Path::new("/usr")
        && let Some(path) = library_in(&own)
    {
        return Some(Library {
            path,
            rpath: Some(own),
        });
    }
    let multiarch = host
        .names(Path::new("/usr/lib"))
        .into_iter()
        .filter(|name| name.ends_with("-linux-gnu"))
        .map(|name| Path::new("/usr/lib").join(name));
    multiarch
        .chain(["/usr/lib64".into(), "/usr/lib".into()])
        .find_map(|directory| library_in(&directory))
        .map(|path| Library { path, rpath: None })
}

/// The major version in `libLLVM.so.22.1 => ...` or `libLLVM-14.so.1 => ...`.
fn linked_llvm(ldd: &str) -> Option<u32> {
    let (_, rest) = ldd.split_once("libLLVM")?;
    let rest = rest
        .trim_start_matches(".so")
        .trim_start_matches(['.', '-']);
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn cargo_bin(host: &dyn Host) -> Option<PathBuf> {
    let home = match host.var("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&host.var("HOME")?).join(".cargo"),
    };
    Some(home.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::super::host::fake::FakeHost;
    use super::*;

    const LINKER: &str = "/cargo/bin/bpf-linker";

    fn compiler(sysroot: &str, llvm: u32) -> Compiler {
        Compiler {
            toolchain: None,
            sysroot: sysroot.into(),
            bootstrap: true,
            release: (1, 96, 0),
            llvm,
        }
    }

    fn linker(version: &str) -> FakeHost {
        FakeHost::default()
            .file(LINKER, "")
            .output(&format!("{LINKER} --version"), version)
            .output(
                &format!("ldd {LINKER}"),
                "\tlibLLVM.so.22.1 => /lib/x86_64-linux-gnu/libLLVM.so.22.1 (0x00007f4bba600000)\n",
            )
    }

    fn why_missing(found: Found) -> String {
        match found {
            Found::Missing(why) => why,
            Found::Ready(what) => panic!("{what} is ready"),
        }
    }

    #[test]
    fn a_recent_linker_for_the_same_llvm_is_taken() {
        let found = find(&linker("bpf-linker 0.13.0\n"), Some(&compiler("/usr", 22)));
        assert_eq!(found, Found::Ready("bpf-linker 0.13.0".to_owned()));
        let newer = find(&linker("bpf-linker 0.14.2\n"), Some(&compiler("/usr", 21)));
        assert_eq!(newer, Found::Ready("bpf-linker 0.14.2".to_owned()));
    }

    #[test]
    fn an_old_linker_is_replaced() {
        let why = why_missing(find(&linker("bpf-linker 0.9.14\n"), None));
        assert!(why.contains("older"), "{why}");
    }

    #[test]
    fn a_linker_for_an_older_llvm_is_replaced() {
        let why = why_missing(find(
            &linker("bpf-linker 0.13.0\n"),
            Some(&compiler("/usr", 23)),
        ));
        assert!(why.contains("LLVM 22") && why.contains("LLVM 23"), "{why}");
    }

    #[test]
    fn a_linker_that_does_not_start_is_replaced() {
        let why = why_missing(find(&FakeHost::default().file(LINKER, ""), None));
        assert!(why.contains("does not start"), "{why}");
    }

    #[test]
    fn a_linker_outside_path_is_pointed_at() {
        let host = FakeHost::default()
            .var("HOME", "/h")
            .file("/h/.cargo/bin/bpf-linker", "");
        let why = why_missing(find(&host, None));
        assert!(why.contains("not in PATH"), "{why}");
    }

    #[test]
    fn a_statically_linked_one_is_trusted() {
        let host = FakeHost::default()
            .file(LINKER, "")
            .output(&format!("{LINKER} --version"), "bpf-linker 0.13.0");
        assert!(matches!(
            find(&host, Some(&compiler("/usr", 23))),
            Found::Ready(_)
        ));
    }

    #[test]
    fn the_llvm_of_a_distribution_is_found_by_its_major_version() {
        let host = FakeHost::default()
            .file("/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1", "")
            .file("/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1", "");
        let library = llvm_library(&host, &compiler("/usr", 22)).unwrap();
        assert_eq!(
            library.path,
            Path::new("/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1")
        );
        assert_eq!(library.rpath, None);
        assert_eq!(llvm_library(&host, &compiler("/usr", 23)), None);
    }

    #[test]
    fn the_llvm_of_a_rustup_toolchain_is_found_in_it() {
        let host = FakeHost::default()
            .file("/t/nightly/lib/libLLVM-22-rust-1.97.0-nightly.so", "")
            .file("/t/nightly/lib/libLLVM.so.22.1-rust-1.97.0-nightly", "");
        let library = llvm_library(&host, &compiler("/t/nightly", 22)).unwrap();
        assert_eq!(
            library.path,
            Path::new("/t/nightly/lib/libLLVM.so.22.1-rust-1.97.0-nightly")
        );
        assert_eq!(library.rpath.as_deref(), Some(Path::new("/t/nightly/lib")));
    }

    #[test]
    fn both_spellings_of_a_linked_llvm_are_read() {
        assert_eq!(linked_llvm("libLLVM.so.22.1 => /lib/x"), Some(22));
        assert_eq!(linked_llvm("libLLVM-14.so.1 => /lib/x"), Some(14));
        assert_eq!(linked_llvm("not a dynamic executable"), None);
    }
}
