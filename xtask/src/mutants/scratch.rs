//! A copy of the tree to plant bugs in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::bugs::Mutant;
use crate::sh::{root, sh};

/// The copy, below the target directory.
pub(super) struct Scratch {
    tree: PathBuf,
}

impl Scratch {
    /// Copies every file git knows or would know.
    ///
    /// # Errors
    /// Those of git and of the file system.
    pub(super) fn new() -> Result<Self> {
        let tree = root().join("target/mutants");
        let names = sh("list the files of the project", "git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root())
            .output()?;
        let scratch = Self { tree };
        // Where setup wrote down which compiler builds the XDP program.
        for name in names.split_terminator('\0').chain([".cargo/ebpf.toml"]) {
            scratch.copy(Path::new(name))?;
        }
        Ok(scratch)
    }

    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Where it is compiled: in the project's own target directory the sick would be taken for the healthy.
    pub(super) fn target(&self) -> PathBuf {
        self.tree.join("target")
    }

    /// Copies one file, if it is there and differs: what is the same need not be compiled again.
    fn copy(&self, name: &Path) -> Result<()> {
        let (from, to) = (root().join(name), self.tree.join(name));
        let Ok(bytes) = fs::read(&from) else {
            return Ok(());
        };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let folder = to.parent().unwrap_or(&self.tree);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&to, bytes))
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    }

    /// Plants the bug. It stays until what is returned restores the file.
    ///
    /// # Errors
    /// The place is not in the file exactly once, or the file cannot be written.
    pub(super) fn plant(&self, mutant: &Mutant) -> Result<Healed> {
        let path = self.tree.join(mutant.file);
        let healthy =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let places = healthy.matches(mutant.find).count();
        if places != 1 {
            bail!(
                "{} has {places} places like `{}`; mend the list in xtask/src/mutants/bugs.rs",
                mutant.file,
                mutant.find
            );
        }
        let sick = healthy.replace(mutant.find, mutant.replace);
        fs::write(&path, sick).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Healed { path, healthy })
    }
}

/// A file as it was.
#[must_use]
pub(super) struct Healed {
    path: PathBuf,
    healthy: String,
}

impl Healed {
    /// Takes the bug out again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn restore(self) -> Result<()> {
        fs::write(&self.path, self.healthy)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
