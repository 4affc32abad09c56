//! Log lines on standard error.
//!
//! Policy: single packets at `trace`, decisions about single peers at `debug`, start, stop and changes of state at
//! `info`, what somebody should look at `warn`, what keeps the relay from its job at `error`. Addresses of clients never
//! appear above `debug`. Values are fields, not words of the text.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Level, LogFormat};

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Sends the log of the whole process to standard error.
///
/// # Errors
/// Logging was started before.
pub fn start(level: Level, format: LogFormat) -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(level, format, io::stderr))
}

fn subscriber<W>(
    level: Level,
    format: LogFormat,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        // They would go to standard error as well, and where nothing can be written there they would end the thread.
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        LogFormat::Text => Box::new(builder.with_ansi(false).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, format: LogFormat) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(level, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(peers = 5, "table nearly full");
            tracing::debug!("one peer");
        });
        let bytes = lines.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn less_severe_lines_are_left_out() {
        let text = logged(Level::Info, LogFormat::Text);
        assert!(
            text.contains("WARN") && text.contains("table nearly full peers=5"),
            "{text}"
        );
        assert!(!text.contains("one peer"));
        assert!(logged(Level::Debug, LogFormat::Text).contains("one peer"));
    }

    #[test]
    fn json_is_one_object_a_line_with_fields_as_keys() {
        let text = logged(Level::Debug, LogFormat::Json);
        assert_eq!(text.lines().count(), 2);
        let first = text.lines().next().expect("a line");
        let value: serde_json::Value = serde_json::from_str(first).expect("JSON");
        assert_eq!(value["message"], "table nearly full");
        assert_eq!(value["peers"], 5);
        assert_eq!(value["level"], "WARN");
    }
}
