//! Keeps generated blocks of the documentation equal to the code.
//!
//! A block stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

use std::path::PathBuf;

/// Set to rewrite the blocks instead of comparing them.
const UPDATE: &str = "UPDATE_DOCS";

/// The text of a file below `docs/`.
pub(crate) fn read(file: &str) -> String {
    let path = path(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(file)
}

/// Panics unless the block `name` of `docs/{file}` is `wanted`; with `UPDATE_DOCS=1` makes it so.
pub(crate) fn assert_generated(file: &str, name: &str, wanted: &str) {
    let text = read(file);
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let from = text
        .find(&begin)
        .unwrap_or_else(|| panic!("docs/{file} lacks {begin:?}"))
        + begin.len();
    let to = text
        .find(&end)
        .unwrap_or_else(|| panic!("docs/{file} lacks {end:?}"));
    if &text[from..to] == wanted {
        return;
    }
    assert!(
        std::env::var_os(UPDATE).is_some(),
        "docs/{file}: the block {name} differs from the code; run the tests with {UPDATE}=1 to rewrite it.\nIt should be:\n{wanted}"
    );
    let updated = format!("{}{wanted}{}", &text[..from], &text[to..]);
    std::fs::write(path(file), updated).unwrap_or_else(|e| panic!("docs/{file}: {e}"));
}

/// A default as a table shows it: values as code, sentences as they are.
pub(crate) fn default_cell(default: &str) -> String {
    if default.contains(' ') || matches!(default, "required" | "none" | "all") {
        default.to_owned()
    } else {
        format!("`{default}`")
    }
}
