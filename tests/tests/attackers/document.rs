//! `docs/security.md`: what it says is measured and tested.

use std::fs;
use std::path::Path;

pub(crate) use crate::block::assert_block;
use crate::block::{path, root};

/// The functions of every Rust file below `dir`.
fn functions(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Tests of a macro are named by it.
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            found.extend(words.filter(|word| word.contains('_')).map(str::to_owned));
        }
    }
}

#[test]
fn every_row_of_the_threats_names_tests_that_are_there() {
    let mut known = Vec::new();
    for dir in ["teredo", "relay-common", "relay-user", "tests"] {
        functions(&root().join(dir), &mut known);
    }
    let text = fs::read_to_string(path()).unwrap();
    let rows: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("| A-"))
        .collect();
    let wanted: Vec<String> = (1..=26).map(|n| format!("A-{n}")).collect();
    let numbers: Vec<&str> = rows
        .iter()
        .map(|row| row.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(numbers, wanted);
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(
            !named.is_empty() || tests.contains("client:"),
            "no test: {row}"
        );
        for name in named {
            assert!(
                known.iter().any(|known| known == name),
                "no such test: {name}"
            );
        }
    }
}
