//! Cases the three once disagreed about: `tests/fixtures/oracle/*.json`.

use std::fs;
use std::path::PathBuf;

use crate::case::Case;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/oracle")
}

/// All of them, by name.
pub(crate) fn all() -> Vec<(String, Case)> {
    let files = fs::read_dir(folder()).expect("the folder of fixtures");
    let mut cases: Vec<_> = files
        .map(|file| file.expect("a fixture").path())
        .filter(|path| path.extension().is_some_and(|is| is == "json"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a fixture can be read");
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let case = serde_json::from_str(&text);
            (
                name.clone(),
                case.unwrap_or_else(|error| panic!("{name}: {error}")),
            )
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// The case as a fixture.
pub(crate) fn text(case: &Case) -> String {
    serde_json::to_string_pretty(case).expect("a case is plain data")
}
