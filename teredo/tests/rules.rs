//! `docs/protocol.md` lists every rule of relay and server, and what it names exists.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The rules of a role: their letter, the last number, and the numbers they skip.
const ROLES: [(char, u32, RangeInclusive<u32>); 2] = [('R', 57, 6..=9), ('S', 23, 19..=19)];

/// The packages tests may live in.
const PACKAGES: [&str; 5] = [
    "teredo",
    "relay-common",
    "relay-ebpf",
    "relay-user",
    "tests",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between backticks in `text`.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Place and tests of each rule.
fn rows(document: &str) -> BTreeMap<(char, u32), (String, String)> {
    let mut rows = BTreeMap::new();
    for line in document.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let [_, rule, _, place, tests, _] = cells[..]
            && let Some((role, number)) = rule.split_once('-')
            && let Some((role, ..)) = ROLES.iter().find(|(letter, ..)| role == letter.to_string())
        {
            let number = number
                .parse()
                .unwrap_or_else(|_| panic!("not a rule: {rule}"));
            let twice = rows.insert((*role, number), (place.to_owned(), tests.to_owned()));
            assert!(twice.is_none(), "{rule} is listed twice");
        }
    }
    rows
}

fn sources(directory: &Path, found: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&read(&path));
        }
    }
}

#[test]
fn every_rule_is_listed_with_a_place() {
    let rows = rows(&read(&root().join("docs/protocol.md")));
    for (role, last, unused) in ROLES {
        for number in 1..=last {
            let place = rows.get(&(role, number)).map(|(place, _)| place);
            assert_eq!(
                place.is_none_or(String::is_empty),
                unused.contains(&number),
                "{role}-{number}"
            );
        }
        let of_role = rows.keys().filter(|(letter, _)| *letter == role);
        assert_eq!(of_role.max(), Some(&(role, last)));
    }
}

#[test]
fn every_place_the_list_names_is_there() {
    for ((role, rule), (place, _)) in rows(&read(&root().join("docs/protocol.md"))) {
        let mut source = None;
        for name in quoted(&place) {
            if name.contains('/') {
                source = Some(read(&root().join(name)));
            } else {
                let source = source
                    .as_ref()
                    .unwrap_or_else(|| panic!("{role}-{rule}: {name} of which file?"));
                assert!(
                    source.contains(&format!("fn {name}")),
                    "{role}-{rule}: no function {name}"
                );
            }
        }
    }
}

#[test]
fn every_test_the_list_names_is_there_and_the_machine_has_one_for_each_rule() {
    let mut all = String::new();
    for package in PACKAGES {
        for part in ["src", "tests"] {
            sources(&root().join(package).join(part), &mut all);
        }
    }
    for ((role, rule), (place, tests)) in rows(&read(&root().join("docs/protocol.md"))) {
        let elsewhere = !place.starts_with('`');
        assert!(
            elsewhere || quoted(&tests).next().is_some(),
            "{role}-{rule} has no test"
        );
        for name in quoted(&tests) {
            assert!(
                all.contains(&format!("fn {name}(")),
                "{role}-{rule}: no test {name}"
            );
        }
    }
}
