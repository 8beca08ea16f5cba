//! Logging in to a server, and forgetting its key.

use std::collections::BTreeMap;

use certctl_domain::secret::Secret;

use crate::app::App;
use crate::config::Context;
use crate::connection::{Connection, ServerFlags};
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::input;
use crate::output::terminal::plain;

/// Checks an API key at the server, then writes both into the configuration file and makes them the current context.
pub(crate) async fn login(mut app: App) -> Result<(), Failure> {
    let mut connection = find(&app)?;
    connection.token = Some(token(&app)?);
    let me: Doc = connection.client(app.call_limit())?.get("/api/v1/auth/me", &[]).await?;
    let name = name(&app, &connection)?;
    let server = connection.server.clone();
    app.file.config.contexts.insert(name.clone(), connection.into_context());
    app.file.config.current = Some(name.clone());
    app.file.write()?;
    let roles = doc::text(&me, "roles");
    let roles = if roles.is_empty() { "no role".to_owned() } else { roles };
    app.out.note(&plain(&format!("logged in to {server} as {} ({roles}); context `{name}`", doc::text(&me, "actor_id"))));
    Ok(())
}

/// Forgets the API key of the context. The key itself goes on working until it is deleted.
pub(crate) fn logout(mut app: App) -> Result<(), Failure> {
    let flags = &app.flags.server;
    let name = flags.context.as_ref().or(app.environment.context.as_ref()).or(app.file.config.current.as_ref()).cloned();
    let name = name.ok_or_else(|| Failure::usage("nobody is logged in"))?;
    app.file.config.context(&name)?;
    if let Some(context) = app.file.config.contexts.get_mut(&name) {
        context.token = None;
    }
    app.file.write()?;
    app.out.note(&format!("the key of `{name}` is forgotten; to make it useless as well: certctl keys delete ID"));
    Ok(())
}

/// Server and trust. A context that does not exist yet is about to be made.
fn find(app: &App) -> Result<Connection, Failure> {
    let known = |name: &String| app.file.config.contexts.contains_key(name);
    let mut environment = app.environment.clone();
    environment.context = environment.context.filter(known);
    let context = app.flags.server.context.clone().filter(known);
    let mut config = app.file.config.clone();
    if context.is_none() && app.flags.server.context.is_some() {
        config.current = None;
    }
    let flags = ServerFlags { context, token_file: None, ..app.flags.server.clone() };
    Connection::find(&flags, &environment, &config)
}

fn token(app: &App) -> Result<Secret<String>, Failure> {
    match (&app.flags.server.token_file, &app.environment.api_key) {
        (Some(file), _) => input::secret(file),
        (None, Some(key)) => Ok(key.clone()),
        (None, None) if app.environment.stdin_is_terminal && app.environment.stderr_is_terminal => input::ask_secret("API key: "),
        (None, None) => Err(Failure::usage("no API key was given").hint("add --token-file FILE, or --token-file - to read standard input")),
    }
}

/// The name that was asked for, or that of the context which had this server, or the server's host.
fn name(app: &App, connection: &Connection) -> Result<String, Failure> {
    let asked = app.flags.server.context.as_ref().or(app.environment.context.as_ref()).or(connection.context.as_ref());
    if let Some(name) = asked {
        return Ok(name.clone());
    }
    let fail = || Failure::usage(format!("`{}` has no host", connection.server));
    let url: url::Url = connection.server.parse().map_err(|_| fail())?;
    name_of(&app.file.config.contexts, &url).ok_or_else(fail)
}

/// The name of a context at this host, unless that is another server's already.
fn name_of(contexts: &BTreeMap<String, Context>, server: &url::Url) -> Option<String> {
    let host = server.host_str()?;
    let is_other = |known: &str| known.parse::<url::Url>().is_ok_and(|known| known.origin() != server.origin());
    let taken = contexts.get(host).is_some_and(|context| is_other(&context.server));
    Some(match server.port_or_known_default() {
        Some(port) if taken => format!("{host}:{port}"),
        _ => host.to_owned(),
    })
}

pub(crate) const EXAMPLES: &str = "Examples:
  certctl login --server https://certctl.example.test:8443 --ca ca.pem
  certctl login --server https://certctl.example.test:8443 --token-file admin-token --context lab
  pass show lab-key | certctl login --token-file -";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_at_the_usual_port_gets_a_name_of_its_own_beside_another_at_its_host() {
        let context = |server: &str| Context { server: server.to_owned(), token: None, ca_pem: None, insecure: false };
        let mut contexts = BTreeMap::from([("a.test".to_owned(), context("https://a.test:8443"))]);
        let name = |contexts: &BTreeMap<_, _>, server: &str| name_of(contexts, &server.parse().unwrap()).unwrap();
        assert_eq!(name(&contexts, "https://a.test"), "a.test:443");
        assert_eq!(name(&contexts, "https://a.test:8443/"), "a.test");
        assert_eq!(name(&contexts, "https://b.test"), "b.test");
        contexts.insert("b.test".to_owned(), context("https://b.test/"));
        assert_eq!(name(&contexts, "https://b.test:443"), "b.test");
        assert_eq!(name(&contexts, "https://b.test:8443"), "b.test:8443");
    }
}
