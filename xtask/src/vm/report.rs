//! What is made of the machine's words: a table for people, figures for programs, a verdict.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::protocol::Transcript;

/// The table of checks and figures.
pub(crate) fn table(transcript: &Transcript) -> String {
    let kernel = transcript.kernel.as_deref().unwrap_or("did not say");
    let mut out = format!("kernel: {kernel}\n\n");
    let names = transcript.checks.iter().map(|check| check.name.len());
    let cases = transcript.figures.iter().map(|figure| figure.case.len());
    let width = names.chain(cases).max().unwrap_or(0);
    for check in &transcript.checks {
        let result = if check.passed { "ok" } else { "FAILED" };
        let line = format!("{:<width$}  {result:<6}  {}", check.name, check.detail);
        out += line.trim_end();
        out += "\n";
    }
    if !transcript.figures.is_empty() {
        out += "\n";
    }
    for figure in &transcript.figures {
        out += &format!(
            "{:<width$}  {} {}\n",
            figure.case, figure.value, figure.unit
        );
    }
    out
}

/// The figures in the shape of the other benches. Each was counted once.
pub(crate) fn figures(transcript: &Transcript) -> Value {
    transcript
        .figures
        .iter()
        .map(|figure| {
            json!({
                "bench": "vm",
                "case": figure.case,
                "unit": figure.unit,
                "min": figure.value,
                "median": figure.value,
                "max": figure.value,
            })
        })
        .collect()
}

/// Whether everything was tried and nothing failed.
///
/// # Errors
/// Names what failed.
pub(crate) fn judge(transcript: &Transcript) -> Result<()> {
    let failed: Vec<_> = transcript
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| check.name.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("failed in the virtual machine: {}", failed.join(", "));
    }
    if !transcript.ended {
        bail!("the virtual machine stopped before it had tried everything");
    }
    if transcript.checks.is_empty() {
        bail!("the virtual machine tried nothing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Line;
    use super::*;

    fn transcript(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.add(Line::parse(line).unwrap());
        }
        transcript
    }

    #[test]
    fn a_check_that_failed_an_early_end_and_an_empty_run_are_all_failures() {
        assert!(judge(&transcript(&["check a ok", "end"])).is_ok());
        let error = judge(&transcript(&["check a ok", "check b failed x", "end"])).unwrap_err();
        assert!(error.to_string().ends_with(": b"), "{error}");
        assert!(judge(&transcript(&["check a ok"])).is_err());
        assert!(judge(&transcript(&["end"])).is_err());
    }

    #[test]
    fn the_table_shows_every_check_and_figure() {
        let transcript = transcript(&[
            "kernel 6.1.0",
            "check verifier ok",
            "check decap failed 3 of 100",
            "figure verifier/instructions count 5731",
        ]);
        assert_eq!(
            table(&transcript),
            "kernel: 6.1.0\n\n\
             verifier               ok\n\
             decap                  FAILED  3 of 100\n\n\
             verifier/instructions  5731 count\n"
        );
    }

    #[test]
    fn figures_have_the_shape_of_the_other_benches() {
        let transcript = transcript(&["figure verifier/stack bytes 184"]);
        assert_eq!(
            figures(&transcript),
            json!([{
                "bench": "vm", "case": "verifier/stack", "unit": "bytes",
                "min": 184.0, "median": 184.0, "max": 184.0
            }])
        );
    }
}
