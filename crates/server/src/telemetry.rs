//! Logs, and the id that ties a request's log lines, its audit rows and its answer together.
//!
//! Logs go to standard error, as lines for people or as one JSON object a line. What is written is decided by the configuration
//! alone; no other variable of the environment is looked at. A panic is logged like everything else, so that it is not lost between
//! JSON lines.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, LogSettings};

/// Sends everything that this process logs to standard error, from now to its end. Call it once.
///
/// # Errors
/// When the filter is not one, or logging was set up before.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let subscriber = subscriber(settings, Colors::for_terminal(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` has a mistake that the configuration did not see.
    #[error("`log.level` is not a log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// There is a log already.
    #[error("logging was set up twice")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Whether text lines are colored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colors {
    /// For a terminal.
    Yes,
    /// For a file or another program.
    No,
}

impl Colors {
    fn for_terminal() -> Self {
        if io::stderr().is_terminal() { Self::Yes } else { Self::No }
    }
}

/// What [`init`] installs, with another place to write to.
///
/// # Errors
/// When the filter is not one.
pub fn subscriber<W>(settings: &LogSettings, colors: Colors, writer: W) -> Result<impl Subscriber + Send + Sync, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(settings.level.as_str()).map_err(TelemetryError::Filter)?;
    Ok(tracing_subscriber::registry().with(filter).with(lines(settings.format, colors, writer)))
}

fn lines<S, W>(format: LogFormat, colors: Colors, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => layer.with_ansi(colors == Colors::Yes).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("without a message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(panic.place = %place, thread.name = %thread, "panic: {what}");
}

/// The id of one request: in its log lines, in the audit rows that it caused, in its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// A new one; ids sort by time.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("req-{}", uuid::Uuid::now_v7().simple()))
    }

    /// The id that a caller sent, if it is fit to stand in a log: 1 to 64 letters, digits, `-`, `_`, `.`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        ((1..=64).contains(&text.len()) && text.bytes().all(fit)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use certctl_domain::secret::Secret;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let settings = LogSettings { format, ..LogSettings::default() };
        let subscriber = subscriber(&settings, Colors::No, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        captured.text()
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_of_event_and_request() {
        let text = logged(LogFormat::Json, || {
            let _request = tracing::info_span!("request", request.id = "req-1").entered();
            tracing::info!(cert.id = "mc-1", duration_ms = 7, "certificate mc-1 issued");
            tracing::debug!("below the level");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!(lines[0]["message"], "certificate mc-1 issued");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["cert.id"], "mc-1");
        assert_eq!(lines[0]["duration_ms"], 7);
        assert_eq!(lines[0]["span"]["request.id"], "req-1");
        assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn secrets_stay_secret_in_both_forms() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, || {
                let secret = Secret::new("hunter2".to_owned());
                tracing::info!(debug = ?secret, display = %secret, "a secret {secret} {secret:?}");
            });
            assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn text_has_no_escape_codes_when_it_is_not_for_a_terminal() {
        let text = logged(LogFormat::Text, || tracing::warn!(path = "/x\u{1b}[31m", "odd path"));
        assert!(text.contains("WARN") && !text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn a_panic_is_logged_with_its_place() {
        // The hook is that of the whole process, so it is put back at once.
        let text = logged(LogFormat::Json, || {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let caught = std::panic::catch_unwind(|| panic!("the sky fell"));
            std::panic::set_hook(before);
            assert!(caught.is_err());
        });
        assert!(text.contains("panic: the sky fell") && text.contains("telemetry.rs"), "{text}");
    }

    #[test]
    fn request_ids_from_outside_are_taken_only_when_harmless() {
        let made = RequestId::generate();
        assert_eq!(RequestId::parse(made.as_str()), Some(made.clone()));
        assert_ne!(RequestId::generate(), made);
        assert!(RequestId::parse("01J-abc_9.x").is_some());
        for text in ["", "a b", "x\nlevel=error", "ü", &"a".repeat(65)] {
            assert_eq!(RequestId::parse(text), None, "{text:?}");
        }
    }
}
