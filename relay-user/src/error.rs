//! Why something does not start, said so that the reader knows what to do next.

use std::fmt;

/// Why a daemon cannot start.
///
/// Reads `{role}: {key} {value}: {cause} ({next})`:
///
/// ```
/// use relay_user::error::StartError;
///
/// let error = StartError::new("--iface", "eth9", "no such interface", "have: lb-v4, lb-v6");
/// assert_eq!(error.to_string(), "relay: --iface eth9: no such interface (have: lb-v4, lb-v6)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What was to start: `relay` unless said otherwise.
    pub role: &'static str,
    /// The flag, configuration key or thing that is at fault.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// What is wrong, with the system's own words where it has some.
    pub cause: String,
    /// What to do about it; may be empty.
    pub next: String,
}

impl StartError {
    /// An error of its four parts.
    pub fn new(
        key: impl Into<String>,
        value: impl Into<String>,
        cause: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            role: "relay",
            key: key.into(),
            value: value.into(),
            cause: cause.into(),
            next: next.into(),
        }
    }

    /// The same, of another role.
    #[must_use]
    pub fn of(self, role: &'static str) -> Self {
        Self { role, ..self }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.role, self.key)?;
        if !self.value.is_empty() {
            write!(f, " {}", self.value)?;
        }
        write!(f, ": {}", self.cause)?;
        if !self.next.is_empty() {
            write!(f, " ({})", self.next)?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_key_value_cause_and_next_step() {
        let error = StartError::new(
            "--bind",
            "203.0.113.18:3545",
            "address in use",
            "see ss -lun",
        );
        assert_eq!(
            error.to_string(),
            "relay: --bind 203.0.113.18:3545: address in use (see ss -lun)"
        );
    }

    #[test]
    fn an_empty_value_or_next_step_leaves_no_trace() {
        let error = StartError::new("--iface", "", "missing", "");
        assert_eq!(error.to_string(), "relay: --iface: missing");
    }
}
