//! Blocks of `docs/security.md` that are measured.

use std::fs;
use std::path::{Path, PathBuf};

/// Set to rewrite blocks instead of comparing them.
const UPDATE: &str = "UPDATE_DOCS";

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn path() -> PathBuf {
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
