//! The machine's file system: busybox, our binaries, the programs they call, all in memory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::modules;
use super::packages::{Kernel, Tools};
use crate::sh::{root, sh};

/// Modules of the kernel the checks need: the cards, the namespaces of the XDP tests, the packet generator.
const MODULES: [&str; 11] = [
    "virtio_pci",
    "virtio_net",
    "virtio_rng",
    "veth",
    "dummy",
    "vrf",
    "8021q",
    "tun",
    "pktgen",
    "sch_ingress",
    "cls_bpf",
];
/// Programs of this machine that are called in the other one, where busybox has none or too small ones.
const PROGRAMS: [&str; 3] = ["ip", "tc", "ethtool"];
const DIRECTORIES: [&str; 8] = ["bin", "proc", "sys", "dev", "tmp", "run", "etc", "pktgen"];
/// The machine's first process.
const INIT: &str = "bench/vm/init";
const PKTGEN: &str = "bench/pktgen";
/// What tests read, by the path they were compiled with; it leads through the directory of their package.
const FIXTURES: [&str; 2] = [
    "teredo/tests/fixtures/vectors.json",
    "docs/benchmarks/verifier.json",
];
const TESTS: &str = "tests";

/// What the checks are about.
pub(crate) struct Payload {
    pub(crate) shipworm: PathBuf,
    pub(crate) farm: PathBuf,
    pub(crate) xdp_tests: PathBuf,
}

/// Builds the archive the kernel unpacks at its start and gives its path.
///
/// # Errors
/// A program or one of its libraries is missing, or a file cannot be written.
pub(crate) fn build(
    directory: &Path,
    tools: &Tools,
    kernel: &Kernel,
    payload: &Payload,
) -> Result<PathBuf> {
    let tree = Tree(directory.join("initramfs"));
    tree.create()?;
    for (program, name) in [
        (&payload.shipworm, "shipworm"),
        (&payload.farm, "shipworm-farm"),
        (&payload.xdp_tests, "xdp-tests"),
        (&tools.bpftool(), "bpftool"),
    ] {
        tree.add_program(program, name, &tools.libraries())?;
    }
    for name in PROGRAMS {
        let program = in_path(name).with_context(|| {
            format!(
                "{name} is not in PATH; `cargo xtask setup` installs what the network tests need"
            )
        })?;
        tree.add_program(&program, name, &tools.libraries())?;
    }
    tree.add_busybox(&tools.busybox())?;
    tree.add_modules(kernel, &tools.busybox())?;
    tree.add_scripts()?;
    tree.add_fixtures()?;
    tree.pack(&tools.busybox(), &directory.join("initramfs.cpio"))
}

struct Tree(PathBuf);

impl Tree {
    fn create(&self) -> Result<()> {
        if self.0.exists() {
            fs::remove_dir_all(&self.0)?;
        }
        for name in DIRECTORIES {
            let directory = self.0.join(name);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        Ok(())
    }

    /// Adds a program, without what only a debugger reads, and the libraries it is linked with.
    fn add_program(&self, program: &Path, name: &str, libraries: &Path) -> Result<()> {
        sh("make a program smaller", "strip")
            .args([OsStr::new("--strip-debug"), OsStr::new("-o")])
            .args([
                self.0.join("bin").join(name).as_os_str(),
                program.as_os_str(),
            ])
            .run()?;
        let listed = sh("find the libraries of a program", "ldd")
            .args([program])
            .env("LD_LIBRARY_PATH", libraries)
            .output()?;
        for library in linked_libraries(&listed)? {
            let to = self.0.join(library.trim_start_matches('/'));
            if !to.exists() {
                copy(Path::new(library), &to)?;
            }
        }
        Ok(())
    }

    /// Adds busybox under all its names that are not taken.
    fn add_busybox(&self, busybox: &Path) -> Result<()> {
        let bin = self.0.join("bin");
        copy(busybox, &bin.join("busybox"))?;
        let applets = sh("list what busybox can", &busybox.to_string_lossy())
            .args(["--list"])
            .output()?;
        for applet in applets.lines() {
            let name = bin.join(applet);
            if !name.exists() {
                symlink("busybox", &name).with_context(|| name.display().to_string())?;
            }
        }
        Ok(())
    }

    fn add_modules(&self, kernel: &Kernel, busybox: &Path) -> Result<()> {
        let release = Path::new("lib/modules").join(&kernel.release);
        let from = kernel.root.join(&release);
        if !from.join("modules.dep").exists() {
            sh("list the modules of the kernel", &busybox.to_string_lossy())
                .args([
                    OsStr::new("depmod"),
                    OsStr::new("-b"),
                    kernel.root.as_os_str(),
                ])
                .args([&kernel.release])
                .run()?;
        }
        let text = |name: &str| {
            let path = from.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let (dep, builtin) = (text("modules.dep")?, text("modules.builtin")?);
        let to = self.0.join(&release);
        for file in modules::files(&MODULES, &dep, &builtin)? {
            copy(&from.join(file), &to.join(file))?;
        }
        copy(&from.join("modules.dep"), &to.join("modules.dep"))
    }

    fn add_scripts(&self) -> Result<()> {
        copy(&root().join(INIT), &self.0.join("init"))?;
        fs::set_permissions(self.0.join("init"), fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(root().join(PKTGEN))? {
            let script = entry?.path();
            if script.extension() == Some(OsStr::new("sh"))
                && let Some(name) = script.file_name()
            {
                copy(&script, &self.0.join("pktgen").join(name))?;
            }
        }
        Ok(())
    }

    fn add_fixtures(&self) -> Result<()> {
        let place = self.0.join(root().strip_prefix("/").unwrap_or(root()));
        fs::create_dir_all(place.join(TESTS))?;
        for file in FIXTURES {
            copy(&root().join(file), &place.join(file))?;
        }
        Ok(())
    }

    fn pack(&self, busybox: &Path, to: &Path) -> Result<PathBuf> {
        // Not compressed: an emulated processor unpacks slowly, and nothing is sent anywhere.
        sh("pack the machine's files", "sh")
            .args(["-ec", "find . | \"$0\" cpio -o -H newc >\"$1\" 2>/dev/null"])
            .args([busybox, to])
            .current_dir(&self.0)
            .shown_as(&format!("find . | cpio -o -H newc > {}", to.display()))
            .run()?;
        Ok(to.to_owned())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.exists())
}

/// Files named by `ldd`: `libelf.so.1 => /lib/libelf.so.1 (0x7f00)`, `/lib64/ld-linux-x86-64.so.2 (0x7f00)`.
fn linked_libraries(ldd: &str) -> Result<Vec<&str>> {
    let mut libraries = Vec::new();
    for line in ldd.lines().map(str::trim) {
        if line.ends_with("not found") {
            bail!("a library is missing: {line} (install the package it comes from)");
        }
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        if path.starts_with('/') {
            libraries.push(path);
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd_and_the_kernels_own_is_no_file() {
        let ldd = "\tlinux-vdso.so.1 (0x7ffc)\n\
                   \tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x7f01)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x7f02)\n";
        assert_eq!(
            linked_libraries(ldd).unwrap(),
            [
                "/lib/x86_64-linux-gnu/libelf.so.1",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(
            linked_libraries("\tstatically linked\n")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_library_that_is_missing_is_named() {
        let error = linked_libraries("\tlibx.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().contains("libx.so.1"), "{error}");
    }
}
