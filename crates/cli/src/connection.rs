//! Which server to call, with which key and which trust: from flags, then the environment, then a context of the configuration file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certctl_api::client::{Client, ClientOptions};
use certctl_domain::secret::Secret;

use crate::config::{Config, Context};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::input;

/// What the flags say about the server.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerFlags {
    #[arg(long, global = true, value_name = "URL", help = "Address of the server [env: CERTCTL_SERVER_URL]")]
    pub(crate) server: Option<String>,
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        hide_short_help = true,
        help = "File with the API key; - reads standard input [env: CERTCTL_API_KEY holds the key itself]"
    )]
    pub(crate) token_file: Option<PathBuf>,
    #[arg(
        long,
        visible_alias = "ca-file",
        global = true,
        value_name = "FILE",
        hide_short_help = true,
        help = "PEM file with the CAs to trust instead of the system's [env: CERTCTL_CA_FILE]"
    )]
    pub(crate) ca: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        hide_short_help = true,
        help = "Context of the configuration file [env: CERTCTL_CONTEXT]"
    )]
    pub(crate) context: Option<String>,
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        help = "Trust any server certificate; for first looks only [env: CERTCTL_INSECURE]"
    )]
    pub(crate) insecure: bool,
}

/// How to reach the server.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The context it comes from, if it does.
    pub(crate) context: Option<String>,
    /// `https://host:port`
    pub(crate) server: String,
    /// The API key.
    pub(crate) token: Option<Secret<String>>,
    /// PEM of the CAs to trust.
    pub(crate) ca_pem: Option<String>,
    /// Whether any server certificate is trusted.
    pub(crate) insecure: bool,
}

impl Connection {
    /// Puts together what flags, environment and configuration file say. A context that is named by flag is stronger than the environment.
    /// Key and CA of a context go to no other server than the one they were given for.
    pub(crate) fn find(flags: &ServerFlags, environment: &Environment, config: &Config) -> Result<Self, Failure> {
        let by_flag = flags.context.as_deref();
        let name = by_flag.or(environment.context.as_deref()).or(config.current.as_deref());
        let context = name.map(|name| config.context(name)).transpose()?;
        let from_environment = by_flag.is_none();
        let server = flags.server.clone().or_else(|| environment.server.clone().filter(|_| from_environment));
        let server = server
            .or_else(|| context.map(|context| context.server.clone()))
            .ok_or_else(|| Failure::usage("no server is known").hint("certctl login --server https://..., or set CERTCTL_SERVER_URL"))?;
        let context = context.filter(|context| is_same_server(&context.server, &server));
        let token = match &flags.token_file {
            Some(file) => Some(input::secret(file)?),
            None => environment.api_key.clone().filter(|_| from_environment).or_else(|| context.and_then(|context| context.token.clone())),
        };
        let ca_file = flags.ca.as_deref().or_else(|| environment.ca_file.as_deref().filter(|_| from_environment));
        Ok(Self {
            context: context.and(name).map(str::to_owned),
            token,
            ca_pem: match ca_file {
                Some(file) => Some(read_ca(file)?),
                None => context.and_then(|context| context.ca_pem.clone()),
            },
            insecure: flags.insecure || environment.insecure || context.is_some_and(|context| context.insecure),
            server,
        })
    }

    /// Makes the client. Nothing is sent.
    pub(crate) fn client(&self, timeout: Duration) -> Result<Client, Failure> {
        Ok(Client::new(ClientOptions {
            server: self.server.clone(),
            token: self.token.clone(),
            ca_pem: self.ca_pem.clone(),
            insecure: self.insecure,
            timeout,
            user_agent: concat!("certctl/", env!("CARGO_PKG_VERSION")).to_owned(),
        })?)
    }

    /// As it is kept in the configuration file.
    pub(crate) fn into_context(self) -> Context {
        Context { server: self.server, token: self.token, ca_pem: self.ca_pem, insecure: self.insecure }
    }
}

fn read_ca(file: &Path) -> Result<String, Failure> {
    let fail = |message: String| Failure::usage(message).hint("give the PEM file with the certificate of the server's CA");
    let pem = std::fs::read_to_string(file).map_err(|error| fail(format!("cannot read the CA file {}: {error}", file.display())))?;
    if pem.contains("-----BEGIN CERTIFICATE-----") { Ok(pem) } else { Err(fail(format!("{} holds no certificate in PEM", file.display()))) }
}

/// Whether two addresses mean the same server, however they are spelled.
fn is_same_server(a: &str, b: &str) -> bool {
    match (a.parse::<url::Url>(), b.parse::<url::Url>()) {
        (Ok(a), Ok(b)) => a.origin() == b.origin(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use certctl_domain::time::Timestamp;

    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> Environment {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        Environment::from_variables(find, Timestamp::UNIX_EPOCH)
    }

    fn config() -> Config {
        let context = |server: &str, token: &str| Context {
            server: server.into(),
            token: Some(Secret::new(token.into())),
            ca_pem: Some(format!("ca of {token}")),
            insecure: false,
        };
        let contexts = [("lab", context("https://lab:8443", "lab-key")), ("prod", context("https://prod", "prod-key"))];
        Config { current: Some("lab".into()), contexts: contexts.map(|(name, context)| (name.to_owned(), context)).into() }
    }

    fn find(flags: &ServerFlags, variables: &'static [(&str, &str)]) -> (String, String, Option<String>) {
        let found = Connection::find(flags, &environment(variables), &config()).unwrap();
        (found.server, found.token.map(|token| token.expose().clone()).unwrap_or_default(), found.context)
    }

    fn flags(server: Option<&str>, context: Option<&str>) -> ServerFlags {
        ServerFlags { server: server.map(Into::into), context: context.map(Into::into), ..ServerFlags::default() }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let both = &[("CERTCTL_SERVER_URL", "https://env"), ("CERTCTL_API_KEY", "env-key"), ("CERTCTL_CONTEXT", "prod")];
        let (lab, prod) = (Some("lab".to_owned()), Some("prod".to_owned()));
        assert_eq!(find(&flags(None, None), &[]), ("https://lab:8443".into(), "lab-key".into(), lab.clone()));
        assert_eq!(find(&flags(None, None), &[("CERTCTL_CONTEXT", "prod")]), ("https://prod".into(), "prod-key".into(), prod));
        assert_eq!(find(&flags(None, None), both), ("https://env".into(), "env-key".into(), None));
        assert_eq!(find(&flags(Some("https://flag"), None), both), ("https://flag".into(), "env-key".into(), None));
        assert_eq!(find(&flags(None, Some("lab")), both), ("https://lab:8443".into(), "lab-key".into(), lab));
    }

    #[test]
    fn the_key_of_a_context_goes_to_its_own_server_alone() {
        let other = Connection::find(&flags(Some("https://elsewhere"), None), &environment(&[]), &config()).unwrap();
        assert!(other.token.is_none() && other.ca_pem.is_none());
        let same = Connection::find(&flags(Some("https://LAB:8443/"), None), &environment(&[]), &config()).unwrap();
        assert!(same.token.is_some() && same.ca_pem.is_some());
    }

    #[test]
    fn a_missing_or_empty_ca_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        crate::files::write(&empty, b"", crate::files::Readers::Everybody).unwrap();
        for (file, words) in [(empty, "holds no certificate"), (folder.path().join("none.pem"), "cannot read the CA file")] {
            let flags = ServerFlags { ca: Some(file), ..ServerFlags::default() };
            let failure = Connection::find(&flags, &environment(&[]), &config()).unwrap_err();
            assert!(failure.told().contains(words), "{}", failure.told());
            assert_eq!(failure.exit_code(), 2);
        }
    }
}
