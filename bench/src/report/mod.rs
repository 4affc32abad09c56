//! Figures as a table, as JSON, as plots, and held against those of an earlier run.

mod compare;
mod figure;
mod machine;
mod plot;
mod publish;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

pub(crate) use figure::Figure;
pub(crate) use publish::publish;

use compare::Comparison;
use machine::Machine;

/// Prints a table.
pub(crate) fn print(figures: &[Figure]) {
    println!("\n{}", table::of(figures));
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// The file cannot be read, or is not an array of figures.
pub(crate) fn read(path: &Path) -> Result<Vec<Figure>> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("--compare {shown}: name a file that --json has written"))?;
    serde_json::from_str(&text)
        .with_context(|| format!("--compare {shown}: not an array of figures"))
}

/// Writes the figures as a JSON array, and the machine beside them.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(path: &Path, figures: &[Figure]) -> Result<()> {
    let write = |path: &Path, mut text: String| {
        text.push('\n');
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    };
    write(path, serde_json::to_string_pretty(figures)?)?;
    let machine = Machine::this();
    write(
        &path.with_extension("machine.json"),
        serde_json::to_string_pretty(&machine)?,
    )
}

/// Prints what has changed since `old` and says whether anything is worse by more than `threshold` per cent.
pub(crate) fn compare(old: &[Figure], new: &[Figure], threshold: f64) -> bool {
    let comparison = Comparison::new(old, new, threshold);
    println!("\n{comparison}");
    comparison.is_worse()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_file_is_an_array_of_figures_with_these_keys_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("figures.json");
        let figure =
            Figure::new("prog", "encap/1M".into(), "ns/packet", vec![2.0, 1.0, 4.0]).unwrap();
        write(&path, std::slice::from_ref(&figure)).unwrap();

        let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let wanted = serde_json::json!([{
            "bench": "prog", "case": "encap/1M", "unit": "ns/packet", "min": 1.0, "median": 2.0, "max": 4.0
        }]);
        assert_eq!(value, wanted);
        assert_eq!(read(&path).unwrap(), [figure]);
    }

    #[test]
    fn the_machine_stands_beside_the_figures() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("figures.json"), &[]).unwrap();
        let beside = fs::read(directory.path().join("figures.machine.json")).unwrap();
        let value: Value = serde_json::from_slice(&beside).unwrap();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(value["kernel"], kernel.trim());
    }

    #[test]
    fn a_file_of_something_else_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), r#"[{"bench": "prog", "case": "x"}]"#).unwrap();
        let error = format!("{:#}", read(file.path()).unwrap_err());
        assert!(error.contains("not an array of figures"), "{error}");
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
    }
}
