//! Which database: an SQLite file or a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};

use certctl_domain::secret::Secret;
use url::Url;

use super::value::{BadValue, Raw, SettingValue, Shown, scalar};

/// Where the data lives. Shown without its password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// One file, one server process.
    Sqlite {
        /// The database file.
        path: PathBuf,
    },
    /// A PostgreSQL server, shared by any number of replicas.
    Postgres {
        /// The whole URL, with its password.
        url: Secret<String>,
    },
}

impl DatabaseUrl {
    /// The SQLite file at `path`.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self::Sqlite { path: path.to_owned() }
    }

    /// Whether it is a PostgreSQL server.
    #[must_use]
    pub const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// The URL to connect with, password and all.
    #[must_use]
    pub fn to_url(&self) -> Secret<String> {
        match self {
            Self::Sqlite { path } => Secret::new(format!("sqlite://{}", path.display())),
            Self::Postgres { url } => url.clone(),
        }
    }

    /// The same server with this password.
    ///
    /// # Errors
    /// When there is already a password, or nothing that could have one.
    pub(super) fn with_password(&self, password: &Secret<String>) -> Result<Self, BadValue> {
        let Self::Postgres { url } = self else {
            return Err(BadValue::new("is given, but the database is an SQLite file, which has none").hint("leave it out"));
        };
        let mut url = Url::parse(url.expose()).map_err(|_| BadValue::new("cannot be put into database.url"))?;
        if password_of(&url).is_some() {
            return Err(BadValue::new("is given, but database.url has a password too").hint("leave one of them out"));
        }
        url.set_password(Some(password.expose())).map_err(|()| {
            BadValue::new("cannot be put into database.url, which names no host").hint("write it into the URL as ?password=...")
        })?;
        Ok(Self::Postgres { url: Secret::new(url.into()) })
    }

    /// A server on another host that is asked not to encrypt, which sends the password and all data in clear.
    #[must_use]
    pub(super) fn is_clear_to_another_host(&self) -> bool {
        let Self::Postgres { url } = self else { return false };
        let Ok(url) = Url::parse(url.expose()) else { return false };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let local = host.is_empty() || host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let disabled = url.query_pairs().any(|(name, value)| name.eq_ignore_ascii_case("sslmode") && value == "disable");
        disabled && !local
    }
}

impl SettingValue for DatabaseUrl {
    const KIND: &'static str = "database URL";

    fn from_raw(raw: &Raw) -> Result<Self, BadValue> {
        let text = scalar(raw)?;
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        match scheme {
            "sqlite" => sqlite(rest),
            "postgres" | "postgresql" => postgres(text),
            "" => Err(BadValue::new("has no scheme").hint("write sqlite:///var/lib/certctl/certctl.db or postgres://user@host/database")),
            _ => Err(BadValue::new("is neither sqlite: nor postgres:").hint("certctl keeps its data in SQLite or PostgreSQL")),
        }
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite://{}", path.display()),
            Self::Postgres { url } => match Url::parse(url.expose()) {
                Ok(url) => f.write_str(&without_secrets(&url)),
                Err(_) => f.write_str("postgres://[redacted]"),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn sqlite(rest: &str) -> Result<DatabaseUrl, BadValue> {
    let hint = "write sqlite:///var/lib/certctl/certctl.db, or sqlite://certctl.db for a file beside you";
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.contains(":memory:") {
        return Err(BadValue::new("is in memory, so that everything would be lost at the next stop").hint(hint));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(BadValue::new("names no file").hint(hint));
    }
    if path.contains('?') {
        return Err(BadValue::new("has options behind a `?`, which SQLite here does not take")
            .hint("use database.synchronous and database.max_connections"));
    }
    Ok(DatabaseUrl::Sqlite { path: PathBuf::from(path) })
}

fn postgres(text: &str) -> Result<DatabaseUrl, BadValue> {
    let hint = "write postgres://user@host:5432/database; a password may come from CERTCTL_DATABASE_PASSWORD_FILE";
    let url = Url::parse(text).map_err(|error| {
        let encode = "is a PostgreSQL URL with an error";
        BadValue::new(format!("{encode} ({error})"))
            .hint(format!("{hint}; in a URL, characters such as @ : / # % in a password are written %40 %3A %2F %23 %25"))
    })?;
    if url.fragment().is_some() {
        return Err(BadValue::new("has a `#`, which cuts it").hint("in a password, write # as %23, or use CERTCTL_DATABASE_PASSWORD_FILE"));
    }
    Ok(DatabaseUrl::Postgres { url: Secret::new(url.into()) })
}

fn password_of(url: &Url) -> Option<String> {
    url.password().map(str::to_owned).or_else(|| url.query_pairs().find(|(name, _)| is_secret(name)).map(|(_, value)| value.into_owned()))
}

fn without_secrets(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    let mut text = if url.password().is_some() && shown.set_password(Some("redacted")).is_ok() {
        // The brackets are put in afterwards: inside the URL they would be percent-encoded.
        shown.as_str().replacen(":redacted@", ":[redacted]@", 1)
    } else {
        shown.into()
    };
    let pairs: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| if is_secret(&name) { format!("{name}=[redacted]") } else { format!("{name}={value}") })
        .collect();
    if !pairs.is_empty() {
        text.push('?');
        text.push_str(&pairs.join("&"));
    }
    text
}

/// Parameters of libpq that carry a secret.
fn is_secret(parameter: &str) -> bool {
    parameter.eq_ignore_ascii_case("password") || parameter.eq_ignore_ascii_case("sslpassword")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DatabaseUrl, BadValue> {
        DatabaseUrl::from_raw(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn both_engines_are_read_and_shown_without_secrets() {
        for (text, shown) in [
            ("sqlite:///var/lib/certctl/certctl.db", "sqlite:///var/lib/certctl/certctl.db"),
            ("sqlite:data/c.db", "sqlite://data/c.db"),
            ("postgres://certctl@db/certctl", "postgres://certctl@db/certctl"),
            ("postgresql://c:hunter2@db:5433/c?sslmode=require", "postgresql://c:[redacted]@db:5433/c?sslmode=require"),
            ("postgres://c@db/c?password=hunter2&sslmode=require", "postgres://c@db/c?password=[redacted]&sslmode=require"),
            ("postgres:///c?host=/run/postgresql", "postgres:///c?host=/run/postgresql"),
        ] {
            let url = read(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?} {:?}", url.show()).contains("hunter2"));
        }
        assert_eq!(read("postgres://c:hunter2@db/c").unwrap().to_url().expose(), "postgres://c:hunter2@db/c");
    }

    #[test]
    fn other_urls_are_refused_without_repeating_them() {
        for (text, why) in [
            ("mysql://root:hunter2@db/c", "neither sqlite: nor postgres:"),
            ("/var/lib/certctl.db", "no scheme"),
            ("sqlite::memory:", "memory"),
            ("sqlite://", "no file"),
            ("sqlite://x.db?mode=rwc", "options"),
            ("postgres://c:hunter2:x@db:port/c", "error"),
            ("postgres://c:hunter2#x@db/c", "error"),
            ("postgres://c@db/c#hunter2", "cuts it"),
        ] {
            let bad = read(text).expect_err(text);
            assert!(bad.why.contains(why), "{text}: {}", bad.why);
            assert!(!format!("{bad:?}").contains("hunter2"), "{bad:?}");
        }
    }

    #[test]
    fn a_separate_password_goes_in_encoded_and_only_once() {
        let password = Secret::new("p@ss/word".to_owned());
        let url = read("postgres://c@db/c").unwrap().with_password(&password).unwrap();
        assert_eq!(url.to_url().expose(), "postgres://c:p%40ss%2Fword@db/c");
        assert!(read("postgres://c:x@db/c").unwrap().with_password(&password).is_err());
        assert!(read("postgres://c@db/c?password=x").unwrap().with_password(&password).is_err());
        assert!(read("postgres:///c").unwrap().with_password(&password).is_err());
        assert!(read("sqlite://c.db").unwrap().with_password(&password).is_err());
    }

    #[test]
    fn clear_text_is_noticed_only_across_the_network() {
        for (text, clear) in [
            ("postgres://c@db.example/c?sslmode=disable", true),
            ("postgres://c@127.0.0.1/c?sslmode=disable", false),
            ("postgres://c@[::1]/c?sslmode=disable", false),
            ("postgres://c@localhost/c?sslmode=disable", false),
            ("postgres://c@db.example/c", false),
        ] {
            assert_eq!(read(text).unwrap().is_clear_to_another_host(), clear, "{text}");
        }
    }
}
