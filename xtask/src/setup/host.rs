//! What setup asks a machine. Tests answer with recorded outputs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A machine that can be asked, not changed.
pub(crate) trait Host {
    /// What `program` printed to standard output; `None` unless it ended with 0.
    fn output(&self, program: &str, args: &[&str]) -> Option<String>;
    /// Where `program` is in `PATH` or a directory of system programs.
    fn program(&self, program: &str) -> Option<PathBuf>;
    /// Names in a directory, sorted; none if it cannot be read.
    fn names(&self, directory: &Path) -> Vec<String>;
    /// Whether a path exists.
    fn exists(&self, path: &Path) -> bool;
    /// The text of a file.
    fn text(&self, path: &Path) -> Option<String>;
    /// An environment variable.
    fn var(&self, name: &str) -> Option<String>;
}

/// The machine we run on.
pub(crate) struct ThisHost;

impl Host for ThisHost {
    fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        let output = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn program(&self, program: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An ordinary user's PATH often lacks these; what they hold runs as root.
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        std::env::split_paths(&path)
            .chain(system)
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn text(&self, path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// The first `x.y` or `x.y.z` in a text.
pub(crate) fn version_in(text: &str) -> Option<(u32, u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find_map(|word| {
            let mut numbers = word.split('.').map(str::parse);
            let major = numbers.next()?.ok()?;
            let minor = numbers.next()?.ok()?;
            let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
            Some((major, minor, patch))
        })
}

#[cfg(test)]
pub(crate) mod fake {
    //! A machine made of recorded answers.

    use std::collections::HashMap;
    use std::path::{Path, PathBuf};

    use super::Host;

    /// Answers by command line, path and name; everything else is absent.
    #[derive(Default)]
    pub(crate) struct FakeHost {
        outputs: HashMap<String, String>,
        files: HashMap<PathBuf, String>,
        vars: HashMap<String, String>,
    }

    impl FakeHost {
        pub(crate) fn output(mut self, line: &str, output: &str) -> Self {
            self.outputs.insert(line.to_owned(), output.to_owned());
            self
        }

        pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
            self.files.insert(path.into(), text.to_owned());
            self
        }

        pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
            self.vars.insert(name.to_owned(), value.to_owned());
            self
        }
    }

    impl Host for FakeHost {
        fn output(&self, program: &str, args: &[&str]) -> Option<String> {
            let line = [&[program], args].concat().join(" ");
            self.outputs.get(&line).cloned()
        }

        fn program(&self, program: &str) -> Option<PathBuf> {
            ["/cargo/bin", "/usr/bin", "/usr/sbin"]
                .map(|directory| Path::new(directory).join(program))
                .into_iter()
                .find(|path| self.files.contains_key(path))
        }

        fn names(&self, directory: &Path) -> Vec<String> {
            let mut names: Vec<String> = self
                .files
                .keys()
                .filter_map(|path| path.strip_prefix(directory).ok()?.iter().next()?.to_str())
                .map(str::to_owned)
                .collect();
            names.sort();
            names.dedup();
            names
        }

        fn exists(&self, path: &Path) -> bool {
            self.files.keys().any(|file| file.starts_with(path))
        }

        fn text(&self, path: &Path) -> Option<String> {
            self.files.get(path).cloned()
        }

        fn var(&self, name: &str) -> Option<String> {
            self.vars.get(name).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(version_in("bpf-linker 0.13.0"), Some((0, 13, 0)));
        assert_eq!(version_in("release: 1.97.0-nightly"), Some((1, 97, 0)));
        assert_eq!(version_in("1.96.0+dfsg1-1~deb12u2"), Some((1, 96, 0)));
        assert_eq!(version_in("LLVM version: 22.1"), Some((22, 1, 0)));
        assert_eq!(version_in("none here"), None);
    }
}
