//! Settings that are text of a certain form: the public URL, names for the server's own certificate, the log filter.

use std::fmt;

use certctl_domain::x509::San;
use url::Url;

use super::value::{BadValue, ListItem, Raw, SettingValue, Shown, scalar};

/// The address under which people and agents reach the server: `https://host[:port]`, nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The URL.
    #[must_use]
    pub const fn as_url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for PublicUrl {
    /// Without a slash at the end, so that a path can be appended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl SettingValue for PublicUrl {
    const KIND: &'static str = "https URL";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let bad = |why: &str| Err(BadValue::new(why).hint("write it like https://certctl.example.com:8443"));
        let Ok(url) = Url::parse(scalar(raw)?) else {
            return bad("is not a URL");
        };
        if url.scheme() != "https" {
            return bad("does not begin with https://");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return bad("has no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad("has a user name or password, which everyone would see");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return bad("has something behind the host and port");
        }
        Ok(Self(url))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

/// A DNS name or IP address for the certificate that the server makes for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsHost(San);

impl TlsHost {
    /// The name as it stands in the certificate; always a DNS name or an IP address.
    #[must_use]
    pub const fn as_san(&self) -> &San {
        &self.0
    }
}

impl SettingValue for TlsHost {
    const KIND: &'static str = "host name or IP address";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        match San::parse(scalar(raw)?) {
            Ok(name @ (San::Dns(_) | San::Ip(_))) => Ok(Self(name)),
            Ok(San::Email(_) | San::Uri(_)) => {
                Err(BadValue::new("is not a host name or IP address").hint("write the name alone, without https:// or a port"))
            }
            Err(error) => Err(BadValue::new(error.why())),
        }
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.to_string())
    }
}

impl ListItem for TlsHost {
    const LIST_KIND: &'static str = "list of host names and IP addresses";
}

/// Which log lines are written: a level, or levels by module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The directives in the syntax of `tracing_subscriber::EnvFilter`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl SettingValue for LogFilter {
    const KIND: &'static str = "log filter";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let bad = |why: &str| BadValue::new(why).hint("write trace, debug, info, warn, error or off, or by module: info,sqlx=warn");
        // A bare word that is not a level would be read as the name of a module, and silence everything else.
        let has_level = text.split(',').any(|part| LEVELS.contains(&part.trim().to_ascii_lowercase().as_str()));
        if !has_level {
            return Err(bad("names no level for the whole server"));
        }
        tracing_subscriber::EnvFilter::builder().parse(text).map_err(|_| bad("is not a log filter"))?;
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T: SettingValue>(text: &str) -> String {
        T::from_raw(&Raw::Text(text.to_owned())).err().map(|bad| bad.why).unwrap_or_default()
    }

    #[test]
    fn public_url_is_https_and_bare() {
        let url = PublicUrl::from_raw(&Raw::Text("https://certctl.example.com:8443/".into())).unwrap();
        assert_eq!(url.to_string(), "https://certctl.example.com:8443");
        for (text, wanted) in [
            ("certctl.example.com", "not a URL"),
            ("http://certctl.example.com", "https://"),
            ("https://u:p@host", "user name"),
            ("https://host/app", "behind the host"),
            ("https://host?x=1", "behind the host"),
        ] {
            assert!(why::<PublicUrl>(text).contains(wanted), "{text}");
        }
    }

    #[test]
    fn tls_hosts_are_names_or_addresses() {
        assert_eq!(why::<TlsHost>("certctl.example.com"), "");
        assert_eq!(why::<TlsHost>("::1"), "");
        assert!(why::<TlsHost>("https://certctl.example.com").contains("not a host name"));
        assert!(why::<TlsHost>("ops@example.com").contains("not a host name"));
        assert!(why::<TlsHost>("a..b").contains("valid host name"));
    }

    #[test]
    fn log_filter_needs_a_level() {
        assert_eq!(why::<LogFilter>("info"), "");
        assert_eq!(why::<LogFilter>("info,sqlx=warn"), "");
        assert!(why::<LogFilter>("verbose").contains("no level"));
        assert!(why::<LogFilter>("sqlx=warn").contains("no level"));
        assert!(why::<LogFilter>("info,sqlx=loud").contains("not a log filter"));
    }
}
