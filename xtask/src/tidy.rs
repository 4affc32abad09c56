//! House rules no compiler checks.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::sh::root;

/// Lines a Rust file may have before it is asked whether it still holds one idea.
const LONG_FILE_LINES: usize = 500;

/// Checks every tracked file.
///
/// # Errors
/// Lists all rules broken.
pub(crate) fn check() -> Result<()> {
    eprintln!("$ (tidy)");
    let files = tracked()?;
    let mut broken = Vec::new();
    for path in &files {
        // Captures and the like are not text.
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            continue;
        };
        broken.extend(foreign_to_the_project(path, &text));
        if is_rust(path) {
            broken.extend(tests_left_out(path, &text));
            let lines = text.lines().count();
            if lines > LONG_FILE_LINES {
                eprintln!("warning: {path} has {lines} lines; does it still hold one idea?");
            }
        }
    }
    broken.extend(unlisted_decisions(
        &files,
        &read("docs/decisions/README.md")?,
    ));
    broken.extend(without_unreleased(&read("CHANGELOG.md")?));
    if !broken.is_empty() {
        bail!("the house rules are broken:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

fn tracked() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .context("cannot list the files of the project: starting git")?;
    if !output.status.success() {
        bail!(
            "cannot list the files of the project: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

/// Directories of somebody's machine and addresses of somebody's mirror.
fn foreign_to_the_project(path: &str, text: &str) -> Vec<String> {
    // In pieces, so that this file keeps its own rule.
    let directories = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    let mirrors = [
        concat!("arti", "factory"),
        concat!("jf", "rog"),
        concat!("index.crates", ".io:"),
    ];
    let mut broken = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for directory in directories {
            if line
                .match_indices(directory)
                .any(|(at, _)| starts_a_path(&line[..at]))
            {
                broken.push(format!(
                    "{path}:{number}: a path of one machine ({directory})"
                ));
            }
        }
        for mirror in mirrors {
            if line.contains(mirror) {
                broken.push(format!("{path}:{number}: a package mirror ({mirror})"));
            }
        }
    }
    broken
}

/// Whether what follows `before` is the beginning of an absolute path, not the middle of another.
fn starts_a_path(before: &str) -> bool {
    before
        .chars()
        .next_back()
        .is_none_or(|c| !c.is_alphanumeric() && !"._-~}*)".contains(c))
}

/// A test that is not run is not a test.
fn tests_left_out(path: &str, text: &str) -> Vec<String> {
    let mark = concat!("#[ign", "ore");
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| line.trim_start().starts_with(mark))
        .map(|(number, _)| format!("{path}:{number}: an ignored test"))
        .collect()
}

fn unlisted_decisions(files: &[String], index: &str) -> Vec<String> {
    files
        .iter()
        .filter_map(|path| path.strip_prefix("docs/decisions/"))
        .filter(|name| *name != "README.md" && !index.contains(&format!("({name})")))
        .map(|name| format!("docs/decisions/README.md does not list {name}"))
        .collect()
}

fn without_unreleased(changelog: &str) -> Option<String> {
    let first = changelog.lines().find(|line| line.starts_with("## "));
    (first != Some("## Unreleased"))
        .then(|| "CHANGELOG.md: the first section is not `## Unreleased`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found_but_not_the_middle_of_a_longer_one() {
        let directory = concat!("/ho", "me/");
        let text = format!("fine\ncd {directory}me/x\n");
        assert_eq!(foreign_to_the_project("a.md", &text).len(), 1);
        assert!(foreign_to_the_project("a.md", &text)[0].starts_with("a.md:2: "));
        let text = format!(
            "https://example.net{directory}me, net{}x",
            concat!("wo", "rk/")
        );
        assert!(foreign_to_the_project("a.md", &text).is_empty());
    }

    #[test]
    fn a_package_mirror_is_found() {
        let text = concat!("source = \"https://arti", "factory.example/\"");
        assert_eq!(foreign_to_the_project("Cargo.lock", text).len(), 1);
    }

    #[test]
    fn an_ignored_test_is_found() {
        let text = concat!("#[test]\n    #[ign", "ore = \"slow\"]\nfn x() {}");
        assert_eq!(tests_left_out("a.rs", text), ["a.rs:2: an ignored test"]);
    }

    #[test]
    fn every_decision_is_listed() {
        let files = [
            "docs/decisions/README.md",
            "docs/decisions/0001-x.md",
            "src/lib.rs",
        ]
        .map(str::to_owned);
        assert_eq!(unlisted_decisions(&files, "* [X](0001-x.md)"), [""; 0]);
        assert_eq!(unlisted_decisions(&files, "").len(), 1);
    }

    #[test]
    fn the_changelog_opens_with_what_is_unreleased() {
        assert_eq!(
            without_unreleased("# Changelog\n\n## Unreleased\n\n## 1.0\n"),
            None
        );
        assert!(without_unreleased("# Changelog\n\n## 1.0\n").is_some());
    }
}
