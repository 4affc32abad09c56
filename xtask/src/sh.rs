//! Running other programs: what runs is shown, and a failure names the command and what it was for.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A command and what it is for.
pub(crate) struct Sh {
    command: Command,
    purpose: String,
    shown: Option<String>,
}

/// `program`, run for `purpose` (which completes the sentence "cannot ...").
pub(crate) fn sh(purpose: &str, program: &str) -> Sh {
    Sh {
        command: Command::new(program),
        purpose: purpose.to_owned(),
        shown: None,
    }
}

/// The cargo that runs this task.
pub(crate) fn cargo(purpose: &str) -> Sh {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    sh(purpose, &program)
}

impl Sh {
    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs it in this directory.
    pub(crate) fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Writes all it says into `file`.
    ///
    /// # Errors
    /// There is no descriptor left for it.
    pub(crate) fn said_to(mut self, file: File) -> Result<Self> {
        self.command.stdout(file.try_clone()?).stderr(file);
        Ok(self)
    }

    /// Shows this line for the command, whose own would be too long to read.
    pub(crate) fn shown_as(mut self, line: &str) -> Self {
        self.shown = Some(line.to_owned());
        self
    }

    /// The command as it could be typed.
    pub(crate) fn line(&self) -> String {
        if let Some(line) = &self.shown {
            return line.clone();
        }
        let env = self
            .command
            .get_envs()
            .filter_map(|(key, value)| Some(format!("{}={}", key.display(), quoted(value?))));
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        env.chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It could not be started, or did not exit with 0.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        eprintln!("$ {line}");
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot {}: starting `{line}`", self.purpose))?;
        if !status.success() {
            bail!("cannot {}: `{line}` ended with {status}", self.purpose);
        }
        Ok(())
    }

    /// Runs it to its end and gives what it wrote to its standard output.
    ///
    /// # Errors
    /// It could not be started, did not exit with 0, or wrote what is not UTF-8.
    pub(crate) fn output(mut self) -> Result<String> {
        let line = self.line();
        eprintln!("$ {line}");
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot {}: starting `{line}`", self.purpose))?;
        if !output.status.success() {
            bail!(
                "cannot {}: `{line}` ended with {}",
                self.purpose,
                output.status
            );
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("cannot {}: the output of `{line}`", self.purpose))
    }

    /// Starts it with its standard output in a pipe.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn spawn(mut self) -> Result<Child> {
        let line = self.line();
        eprintln!("$ {line}");
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot {}: starting `{line}`", self.purpose))
    }

    /// Becomes the command, so that signals and the exit status are its own.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn exec(mut self) -> Result<Infallible> {
        let line = self.line();
        eprintln!("$ {line}");
        let error = self.command.exec();
        Err(error).with_context(|| format!("cannot {}: starting `{line}`", self.purpose))
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_into_a_shell() {
        let sh = sh("see", "echo")
            .args(["a b", "it's", "", "-x"])
            .env("K", "v w");
        assert_eq!(sh.line(), r"K='v w' echo 'a b' 'it'\''s' '' -x");
    }

    #[test]
    fn a_failure_names_the_command_and_what_it_was_for() {
        let error = sh("see the light", "false").run().unwrap_err().to_string();
        assert!(error.contains("cannot see the light"), "{error}");
        assert!(error.contains("`false`"), "{error}");
        let error = sh("see", "no-such-program").run().unwrap_err().to_string();
        assert!(error.contains("`no-such-program`"), "{error}");
    }
}
