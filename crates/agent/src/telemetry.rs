//! The log: on standard error, for people or for machines.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What a person must look at.
    Error,
    /// What a person should know.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// Each step.
    Debug,
    /// Everything, of the libraries too.
    Trace,
}

/// In which form it is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Begins to log. A second call changes nothing.
pub(crate) fn init(level: LogLevel, format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).parse_lossy(match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,certctl_agent=info,certctl_targets=info,certctl_connector_core=info",
        LogLevel::Debug => "info,certctl_agent=debug,certctl_targets=debug,certctl_connector_core=debug",
        LogLevel::Trace => "trace",
    });
    let mut builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if !std::io::stderr().is_terminal() {
        // In a file or a journal, color is noise. On a terminal, the library minds NO_COLOR.
        builder = builder.with_ansi(false);
    }
    let begun = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = begun {
        tracing::debug!(error, "the log was set up before");
    }
}
