//! Debian packages, unpacked below `target/vm` instead of installed.
//!
//! An emulator and a second kernel are not what a machine should keep for a test, and QEMU's packages may ask
//! others to leave.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::sh::sh;

/// Depends on the newest kernel of the distribution for virtual machines.
pub(crate) const KERNEL: &str = "linux-image-cloud-amd64";
/// The same, of the series of the next release of Debian.
pub(crate) const LATER_KERNEL: &str = "linux-image-6.12-cloud-amd64";
const QEMU: &str = "qemu-system-x86";
const QEMU_PROGRAM: &str = "qemu-system-x86_64";
/// What runs in the machine beside our own and what builds it: the shell, and a look at loaded programs.
const GUEST: [&str; 2] = ["busybox-static", "bpftool"];

/// What the machine is built and run with.
pub(crate) struct Tools {
    /// The unpacked packages.
    root: PathBuf,
    /// The emulator, by name if it is installed.
    pub(crate) qemu: PathBuf,
}

/// A kernel and its modules.
pub(crate) struct Kernel {
    /// As `uname -r` gives it.
    pub(crate) release: String,
    /// The compressed kernel.
    pub(crate) image: PathBuf,
    /// Its modules, with `modules.dep` not written yet.
    pub(crate) root: PathBuf,
}

impl Tools {
    pub(crate) fn busybox(&self) -> PathBuf {
        self.root.join("bin/busybox")
    }

    pub(crate) fn bpftool(&self) -> PathBuf {
        self.root.join("usr/sbin/bpftool")
    }

    /// Shared libraries of unpacked programs.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib/x86_64-linux-gnu")
    }

    /// Directories of firmware; empty where QEMU is installed and knows them.
    pub(crate) fn firmware(&self) -> Vec<PathBuf> {
        ["usr/share/qemu", "usr/share/seabios"]
            .map(|directory| self.root.join(directory))
            .into_iter()
            .filter(|directory| directory.exists())
            .collect()
    }
}

/// Unpacks the emulator, unless it is installed, and what the machine is made of.
///
/// # Errors
/// A package cannot be fetched or unpacked.
pub(crate) fn tools(directory: &Path) -> Result<Tools> {
    let root = directory.join("tools");
    let archives = directory.join("archives");
    let installed = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(QEMU_PROGRAM).exists())
    });
    let qemu = if installed {
        PathBuf::from(QEMU_PROGRAM)
    } else {
        root.join("usr/bin").join(QEMU_PROGRAM)
    };
    let tools = Tools { root, qemu };
    if !installed && !tools.qemu.exists() {
        println!(
            "fetching {QEMU} and the libraries it needs (26 MB) into target/vm; nothing is installed"
        );
        let into = clean(&archives.join("qemu"))?;
        fs::create_dir_all(into.join("partial"))?;
        fetch(
            sh("fetch the emulator", "apt-get")
                .args([
                    "install",
                    "-q",
                    "-y",
                    "--download-only",
                    "--no-install-recommends",
                ])
                .args(["-o", "Debug::NoLocking=1", "-o"])
                .args([format!("Dir::Cache::Archives={}", into.display())])
                .args([QEMU]),
        )?;
        unpack(&into, &tools.root)?;
    }
    if !tools.busybox().exists() || !tools.bpftool().exists() {
        println!(
            "fetching {} (1 MB) into target/vm; nothing is installed",
            GUEST.join(" and ")
        );
        let into = clean(&archives.join("guest"))?;
        download(&into, &GUEST)?;
        unpack(&into, &tools.root)?;
    }
    Ok(tools)
}

/// Unpacks a kernel: `package`, or what it depends on.
///
/// # Errors
/// There is no such package, or it cannot be fetched or unpacked.
pub(crate) fn kernel(directory: &Path, package: &str) -> Result<Kernel> {
    let package = match package {
        KERNEL | LATER_KERNEL => newest_kernel(package)?,
        package => package.to_owned(),
    };
    let Some(release) = package.strip_prefix("linux-image-") else {
        bail!("--kernel {package}: not a kernel (name a package linux-image-...)");
    };
    let root = directory.join(&package);
    let image = root.join(format!("boot/vmlinuz-{release}"));
    if !image.exists() {
        println!("fetching {package} (30 to 40 MB) into target/vm; nothing is installed");
        let into = clean(&directory.join("archives/kernel"))?;
        download(&into, &[&package])?;
        unpack(&into, &root)?;
    }
    if !image.exists() {
        bail!("--kernel {package}: the package holds no kernel (name one it depends on)");
    }
    Ok(Kernel {
        release: release.to_owned(),
        image,
        root,
    })
}

fn newest_kernel(package: &str) -> Result<String> {
    let depends = sh("find a kernel", "apt-cache")
        .args(["depends", package])
        .output()?;
    first_dependency(&depends).with_context(|| {
        format!("apt knows no {package}; run `apt-get update`, or name one with --kernel")
    })
}

fn first_dependency(depends: &str) -> Option<String> {
    depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::to_owned)
}

fn download(into: &Path, packages: &[&str]) -> Result<()> {
    fetch(
        sh("fetch packages", "apt-get")
            .args(["download", "-q"])
            .args(packages)
            .current_dir(into),
    )
}

fn fetch(apt: crate::sh::Sh) -> Result<()> {
    apt.run().context(
        "packages come from the distribution's archive; if its lists are old, run `apt-get update`",
    )
}

/// Unpacks every archive of a directory and removes it.
fn unpack(archives: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    sh("unpack packages", "sh")
        .args([
            "-ec",
            "for archive in *.deb; do dpkg-deb -x \"$archive\" \"$0\"; done",
        ])
        .args([root])
        .current_dir(archives)
        .shown_as(&format!("dpkg-deb -x {}/*.deb", archives.display()))
        .run()?;
    fs::remove_dir_all(archives).with_context(|| archives.display().to_string())
}

fn clean(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    Ok(directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_what_the_meta_package_depends_on() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            first_dependency(depends).as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(first_dependency("N: Unable to locate package\n"), None);
    }

    #[test]
    fn a_package_that_is_no_kernel_is_refused_before_anything_is_fetched() {
        let error = kernel(Path::new("/nonexistent"), "vim").err().unwrap();
        assert!(error.to_string().contains("--kernel vim"), "{error}");
    }
}
