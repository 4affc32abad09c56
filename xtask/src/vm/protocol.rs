//! What the machine says on its second serial port: one fact a line, words separated by single spaces.
//!
//! ```text
//! kernel RELEASE
//! check NAME ok|failed [DETAIL]
//! figure CASE UNIT VALUE
//! end
//! ```
//!
//! The first serial port is the kernel's console, where anything may stand.

/// One line of the machine.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// The kernel that runs, as `uname -r` gives it.
    Kernel(String),
    /// Something was tried.
    Check(Check),
    /// Something was counted.
    Figure(Figure),
    /// All was tried.
    End,
}

/// Something that was tried.
#[derive(Debug, PartialEq)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) passed: bool,
    /// What was seen; may be empty.
    pub(crate) detail: String,
}

/// Something that was counted.
#[derive(Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) case: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
}

/// Everything the machine said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Transcript {
    pub(crate) kernel: Option<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) figures: Vec<Figure>,
    /// It came to its end.
    pub(crate) ended: bool,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// It is none of the four; the message says what is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim_end();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let what_is_wrong = |what: &str| format!("the machine says {line:?}: {what}");
        match word {
            "kernel" if !rest.is_empty() => Ok(Self::Kernel(rest.to_owned())),
            "check" => {
                let mut words = rest.splitn(3, ' ');
                let (Some(name), Some(result)) = (words.next(), words.next()) else {
                    return Err(what_is_wrong("a check has a name and a result"));
                };
                let passed = match result {
                    "ok" => true,
                    "failed" => false,
                    _ => return Err(what_is_wrong("a check is ok or failed")),
                };
                Ok(Self::Check(Check {
                    name: name.to_owned(),
                    passed,
                    detail: words.next().unwrap_or_default().to_owned(),
                }))
            }
            "figure" => match rest.split(' ').collect::<Vec<_>>()[..] {
                [case, unit, value] => Ok(Self::Figure(Figure {
                    case: case.to_owned(),
                    unit: unit.to_owned(),
                    value: value
                        .parse()
                        .ok()
                        .filter(|value: &f64| value.is_finite())
                        .ok_or_else(|| what_is_wrong("the value is not a number"))?,
                })),
                _ => Err(what_is_wrong("a figure has a case, a unit and a value")),
            },
            "end" if rest.is_empty() => Ok(Self::End),
            _ => Err(what_is_wrong("expected kernel, check, figure or end")),
        }
    }
}

impl Transcript {
    /// Adds what a line says.
    pub(crate) fn add(&mut self, line: Line) {
        match line {
            Line::Kernel(release) => self.kernel = Some(release),
            Line::Check(check) => self.checks.push(check),
            Line::Figure(figure) => self.figures.push(figure),
            Line::End => self.ended = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        assert_eq!(
            Line::parse("kernel 6.1.0-56-cloud-amd64\r\n"),
            Ok(Line::Kernel("6.1.0-56-cloud-amd64".into()))
        );
        assert_eq!(
            Line::parse("check decap failed 3 of 100 packets arrived"),
            Ok(Line::Check(Check {
                name: "decap".into(),
                passed: false,
                detail: "3 of 100 packets arrived".into()
            }))
        );
        assert_eq!(
            Line::parse("check verifier ok"),
            Ok(Line::Check(Check {
                name: "verifier".into(),
                passed: true,
                detail: String::new()
            }))
        );
        assert_eq!(
            Line::parse("figure verifier/stack bytes 184"),
            Ok(Line::Figure(Figure {
                case: "verifier/stack".into(),
                unit: "bytes".into(),
                value: 184.0
            }))
        );
        assert_eq!(Line::parse("end"), Ok(Line::End));
    }

    #[test]
    fn a_line_that_says_nothing_is_refused_and_shown() {
        for line in [
            "",
            "kernel",
            "check",
            "check verifier",
            "check verifier maybe",
            "figure a b",
            "figure a b c d",
            "figure a b many",
            "figure a b NaN",
            "end of it",
            "[    1.0] panic",
        ] {
            let error = Line::parse(line).unwrap_err();
            assert!(error.contains(&format!("{line:?}")), "{error}");
        }
    }

    #[test]
    fn a_transcript_keeps_the_order_of_the_machine() {
        let mut transcript = Transcript::default();
        for line in [
            "kernel 6.1",
            "check b ok",
            "check a failed x",
            "figure f n 1",
            "end",
        ] {
            transcript.add(Line::parse(line).unwrap());
        }
        assert_eq!(transcript.kernel.as_deref(), Some("6.1"));
        let names: Vec<_> = transcript.checks.iter().map(|check| &check.name).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(transcript.figures.len(), 1);
        assert!(transcript.ended);
    }
}
