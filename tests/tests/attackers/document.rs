//! `docs/security.md`: what it says is measured and tested.

use std::fs;
use std::path::{Path, PathBuf};

/// Set to rewrite blocks instead of comparing them.
const UPDATE: &str = "UPDATE_DOCS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn path() -> PathBuf {
    root().join("docs/security.md")
}

/// Panics unless the block `name` is `wanted`; with `UPDATE_DOCS=1` makes it so.
pub(crate) fn assert_block(name: &str, wanted: &str) {
    let text = fs::read_to_string(path()).unwrap();
    let begin = format!("<!-- {name}:begin -->\n");
    let end = format!("<!-- {name}:end -->");
    let from = text.find(&begin).expect("the block begins") + begin.len();
    let to = text.find(&end).expect("the block ends");
    if &text[from..to] == wanted {
        return;
    }
    assert!(
        std::env::var_os(UPDATE).is_some(),
        "docs/security.md: the block {name} is not what was measured; run the test with {UPDATE}=1 to rewrite it. \
         It should be:\n{wanted}"
    );
    let updated = format!("{}{wanted}{}", &text[..from], &text[to..]);
    fs::write(path(), updated).unwrap();
}

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
            !named.is_empty() || tests.contains("server:") || tests.contains("client:"),
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
