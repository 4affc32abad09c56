//! Tables and plots for `docs/benchmarks`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::machine::Machine;
use super::{Figure, plot, table};

/// Where they belong, from the root of the project.
const DIRECTORY: &str = "docs/benchmarks";

/// Writes for each bench a page `BENCH.md` with its table and plots, and the figures as `BENCH.json` to compare later
/// runs with.
///
/// # Errors
/// A file cannot be written, or a plot not drawn.
pub(crate) fn publish(figures: &[Figure]) -> Result<()> {
    let directory = Path::new(DIRECTORY);
    for figures in figures.chunk_by(|a, b| a.bench == b.bench) {
        let bench = &figures[0].bench;
        for (name, text) in page(figures, &Machine::this())? {
            let path = directory.join(name);
            fs::write(&path, text)
                .with_context(|| format!("writing {}: run it in the project", path.display()))?;
        }
        super::write(&directory.join(format!("{bench}.json")), figures)?;
        println!("published {DIRECTORY}/{bench}.md");
    }
    Ok(())
}

/// The files of one bench by name.
fn page(figures: &[Figure], machine: &Machine) -> Result<Vec<(String, String)>> {
    let bench = &figures[0].bench;
    let mut text = format!(
        "# Figures of `{bench}`\n\n\
         Written by `cargo xtask bench {bench} --publish`; [README.md](README.md) says how to read them and \
         [method.md](method.md) what they include.\n\n{}\n\n{}",
        machine.sentence(),
        table::of(figures)
    );
    let mut files = Vec::new();
    let mut add = |name: String, alternative: &str, svg: String| {
        text.push_str(&format!("\n![{alternative}]({name})\n"));
        files.push((name, svg));
    };
    let mut units: Vec<&str> = Vec::new();
    for figure in figures {
        if !units.contains(&&*figure.unit) {
            units.push(&figure.unit);
        }
    }
    for unit in units {
        let of_unit: Vec<&Figure> = figures.iter().filter(|f| f.unit == unit).collect();
        let stem = format!("{bench}-{}", file_name(unit));
        let by_size = format!("{bench}: {unit} by number of peers");
        if let Some(svg) = plot::lines(&by_size, unit, &of_unit)? {
            add(format!("{stem}-by-peers.svg"), &by_size, svg);
        }
        let by_case = format!("{bench}: {unit} by case");
        add(
            format!("{stem}.svg"),
            &by_case,
            plot::bars(&by_case, unit, &of_unit)?,
        );
    }
    files.push((format!("{bench}.md"), text));
    Ok(files)
}

/// A unit as part of a file name.
fn file_name(unit: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let words = unit.to_lowercase().replace('%', "percent");
    let name: String = words.chars().map(plain).collect();
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_every_plot_it_comes_with() {
        let figure = |case: &str, unit, median| {
            Figure::new("live", case.into(), unit, vec![median]).unwrap()
        };
        let figures = [
            figure("encap/1", "pps", 3e6),
            figure("encap/1M", "pps", 2e6),
            figure("miredo", "% lost", 0.0),
        ];
        let files = page(&figures, &Machine::this()).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "live-pps-by-peers.svg",
                "live-pps.svg",
                "live-percent-lost.svg",
                "live.md"
            ]
        );
        let text = &files[3].1;
        for name in &names[..3] {
            assert!(text.contains(&format!("]({name})")), "{text}");
        }
        assert!(text.contains("| encap/1M |"), "{text}");
    }
}
