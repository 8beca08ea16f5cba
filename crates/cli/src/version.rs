//! The versions of this program and of the server.

use std::time::Duration;

use serde_json::json;

use crate::app::App;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::output::terminal::plain;

/// Prints them. Without a server, or when it does not answer, this program's own is enough.
pub(crate) async fn show(app: &App) -> Result<(), Failure> {
    let client = env!("CARGO_PKG_VERSION");
    let server = match app.connection() {
        Ok(connection) => match connection.client(LIMIT)?.get::<Doc>("/api/v1/version", &[]).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                app.out.note(&plain(&error.to_string()));
                None
            }
        },
        Err(_) => None,
    };
    let text = || {
        let server = server.as_ref().map(|server| format!("server   {}\n", plain(&doc::text(server, "version"))));
        format!("certctl  {client}\n{}", server.unwrap_or_default())
    };
    app.out.answer(&json!({ "certctl": client, "server": server }), text)
}

const LIMIT: Duration = Duration::from_secs(5);
