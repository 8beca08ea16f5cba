//! How a look at the metrics is written: OpenMetrics for who asks for it, else the text format of Prometheus.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use certctl_engine::Error;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use serde_json::json;

use super::snapshot::Snapshot;
use crate::api::{MediaType as _, OpenMetrics, Operation, Part, Reply};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// The format that a scraper asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

/// Metrics, written.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// Writes what was seen.
    ///
    /// # Errors
    /// Never in practice: a value that the format has no form for.
    pub fn write(snapshot: Snapshot, format: Format) -> Result<Self, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(snapshot));
        let mut text = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut text, &registry),
            Format::Prometheus => prometheus_text::encode(&mut text, &registry),
        }
        .map_err(|error| Error::internal("a metric cannot be written").because(error))?;
        Ok(Self { format, text })
    }

    /// What was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Format {
    /// From the header `Accept` (RFC 9110 section 12.5.1). Who has no wish reads what every scraper and every person can.
    #[must_use]
    pub fn wanted(headers: &HeaderMap) -> Self {
        let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let (mut openmetrics, mut plain) = (0.0_f32, 0.0_f32);
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1.0, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = weight_of(value.trim()),
                    "version" => version = Some(value.trim().trim_matches('"').to_owned()),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => openmetrics = weight.max(openmetrics),
                "text/plain" | "text/*" => plain = weight.max(plain),
                _ => {}
            }
        }
        if openmetrics > 0.0 && openmetrics >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OpenMetrics::NAME,
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

impl FromRequestParts<AppState> for Format {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Answer<Self> {
        Ok(Self::wanted(&parts.headers))
    }
}

impl Part for Format {
    fn describe(operation: &mut Operation) {
        let schema = json!({"type": "string", "examples": ["application/openmetrics-text; version=1.0.0"]});
        operation.header("Accept", "The format: OpenMetrics when asked for, else the text format of Prometheus", schema);
    }
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, self.format.content_type()), (header::VARY, "accept")], self.text).into_response()
    }
}

impl Reply for Exposition {
    fn describe(operation: &mut Operation) {
        let text = json!({"schema": {"type": "string"}});
        let content = json!({"text/plain": text, "application/openmetrics-text": text});
        operation.gives(200, json!({"description": "All metrics", "content": content}));
    }
}

/// A weight from 0 to 1 (RFC 9110 section 12.4.2). What is no weight counts as none.
fn weight_of(text: &str) -> f32 {
    text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn wanted(accept: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Format::wanted(&headers)
    }

    #[test]
    fn prometheus_is_given_what_it_weighs_most() {
        let newest = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
                      text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(wanted(&[newest]), Format::OpenMetrics);
        assert_eq!(wanted(&["text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.3"]), Format::Prometheus);
        assert_eq!(wanted(&["text/plain;q=0.5", "application/openmetrics-text;q=0.5"]), Format::OpenMetrics);
    }

    #[test]
    fn who_has_no_wish_or_an_odd_one_reads_text() {
        for accept in [
            &[][..],
            &["*/*"],
            &["application/json"],
            &["application/openmetrics-text; version=2.0.0"],
            &["application/openmetrics-text; q=0"],
            &["application/openmetrics-text; q=much"],
            &[""],
            &[",;=,;q=,"],
        ] {
            assert_eq!(wanted(accept), Format::Prometheus, "{accept:?}");
        }
    }

    #[test]
    fn words_are_read_as_http_has_them() {
        assert_eq!(wanted(&["Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=1"]), Format::OpenMetrics);
    }
}
