//! What the programs cost the verifier, by kernel: docs/benchmarks/verifier.json. The tests of the XDP program
//! measure and compare; here it is gathered from all machines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use super::protocol::{Figure, Line, Transcript};

/// First part of the names of its figures.
const PREFIX: &str = "record/";

/// Figures by series of kernels (`6.1`), program and what was counted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record(BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>);

impl Record {
    /// Adds the figures among what a machine has said.
    pub(crate) fn add(&mut self, transcript: &Transcript) {
        let release = transcript.kernel.as_deref().unwrap_or_default();
        for figure in &transcript.figures {
            self.add_figure(release, figure);
        }
    }

    /// Adds figures of the kernel `release`, one a line.
    ///
    /// # Errors
    /// A line is none.
    pub(crate) fn add_lines(&mut self, release: &str, lines: &str) -> Result<()> {
        for line in lines.lines() {
            match Line::parse(&format!("figure {line}")).map_err(|what| anyhow!(what))? {
                Line::Figure(figure) => self.add_figure(release, &figure),
                other => return Err(anyhow!("{other:?} is no figure")),
            }
        }
        Ok(())
    }

    fn add_figure(&mut self, release: &str, figure: &Figure) {
        let name = figure.case.strip_prefix(PREFIX);
        if let Some((program, what)) = name.and_then(|name| name.split_once('/')) {
            let series: Vec<_> = release.splitn(3, '.').take(2).collect();
            let programs = self.0.entry(series.join(".")).or_default();
            let figures = programs.entry(program.to_owned()).or_default();
            // Counts are whole, and far below what a float cannot hold.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            figures.insert(what.to_owned(), figure.value as u64);
        }
    }

    /// A line for each kernel and program.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{:<8} {:<8} figures\n", "kernel", "program");
        for (series, programs) in &self.0 {
            for (program, figures) in programs {
                let figures = figures
                    .iter()
                    .map(|(what, value)| format!("{what} {value}"));
                let figures: Vec<_> = figures.collect();
                text += &format!("{series:<8} {program:<8} {}\n", figures.join(", "));
            }
        }
        text
    }

    /// Puts the figures in the place of those of the same kernels in `file`.
    ///
    /// # Errors
    /// The file cannot be read, is not such a record, or cannot be written.
    pub(crate) fn write(self, file: &Path) -> Result<()> {
        let context = || format!("cannot update {}", file.display());
        let old = std::fs::read_to_string(file).with_context(context)?;
        let mut all: serde_json::Map<_, _> = serde_json::from_str(&old).with_context(context)?;
        for (series, programs) in self.0 {
            all.insert(series, serde_json::to_value(programs)?);
        }
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(file, text).with_context(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_programs_are_gathered_by_kernel_and_others_are_left_out() {
        let mut record = Record::default();
        record
            .add_lines("6.18.44", "record/relay/instructions count 7")
            .unwrap();
        let mut transcript = Transcript::default();
        for line in [
            "kernel 6.1.0-56-cloud-amd64",
            "figure record/relay/stack_bytes count 184",
            "figure peers/fresh count 3",
        ] {
            transcript.add(Line::parse(line).unwrap());
        }
        record.add(&transcript);
        let series: Vec<_> = record.0.keys().map(String::as_str).collect();
        assert_eq!(series, ["6.1", "6.18"]);
        assert!(
            record
                .table()
                .contains("6.1      relay    stack_bytes 184\n"),
            "{}",
            record.table()
        );
        assert!(record.add_lines("6.1", "nonsense").is_err());
    }

    #[test]
    fn a_record_keeps_the_figures_of_kernels_that_were_not_measured() {
        let file = std::env::temp_dir().join(format!("verifier-{}.json", std::process::id()));
        std::fs::write(
            &file,
            r#"{"5.18":{"relay":{"x":1}},"6.1":{"relay":{"x":2}}}"#,
        )
        .unwrap();
        let mut record = Record::default();
        record.add_lines("6.1.0", "record/relay/x count 3").unwrap();
        let written = record.write(&file);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        written.unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["5.18"]["relay"]["x"], 1);
        assert_eq!(value["6.1"]["relay"]["x"], 3);
    }
}
