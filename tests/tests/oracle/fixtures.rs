//! Cases the three once disagreed about: `tests/fixtures/oracle/*.json`, those of the server in a folder of it.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Fixtures of the relay.
pub(crate) const RELAY: &str = "fixtures/oracle";
/// Fixtures of the server.
pub(crate) const SERVER: &str = "fixtures/oracle/server";

/// All of `folder`, by name.
pub(crate) fn all<C: DeserializeOwned>(folder: &str) -> Vec<(String, C)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).expect("the folder of fixtures");
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
pub(crate) fn text(case: &impl Serialize) -> String {
    serde_json::to_string_pretty(case).expect("a case is plain data")
}
