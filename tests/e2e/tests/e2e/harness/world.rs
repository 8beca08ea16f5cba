//! A server with its first administrator, and further what most tests need.

use std::sync::Arc;

use certctl_testkit::{Database, Engine};
use serde_json::Value;

use super::agent::token;
use super::{Agent, Api, Cli, Home, Nginx, Server, Setup, read};

/// A fresh installation.
pub(crate) struct World {
    pub(crate) server: Server,
    /// The first administrator at the command line.
    pub(crate) cli: Cli,
    /// The first administrator by raw HTTP.
    pub(crate) api: Api,
    pub(crate) home: Arc<Home>,
    /// Ends after the server.
    pub(crate) database: Option<Database>,
}

impl World {
    /// Starts one: on SQLite with nothing configured, or on PostgreSQL with what that needs.
    pub(crate) async fn open(engine: Engine) -> Self {
        Self::with(engine, |setup| setup).await
    }

    /// Starts one with further settings.
    pub(crate) async fn with(engine: Engine, change: impl FnOnce(Setup) -> Setup) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(certctl_testkit::database::postgres().await),
        };
        Self::on(database, change).await
    }

    /// Starts one on a database that is there, or on SQLite.
    pub(crate) async fn on(database: Option<Database>, change: impl FnOnce(Setup) -> Setup) -> Self {
        let home = Arc::new(Home::new());
        let setup = database.as_ref().map_or_else(|| Setup::plain(&home, "server"), |database| Setup::on(&home, "server", database));
        let server = Server::start(&home, change(setup)).await;
        let key = read(&server.first_key_file());
        home.plant_key(&key);
        let cli = Cli::logged_in(&home, &server).await;
        let api = server.api().with_token(key.trim());
        Self { server, cli, api, home, database }
    }

    /// A one-time token for an agent.
    pub(crate) async fn token(&self, name: &str) -> String {
        token(&self.home, &self.cli, name).await
    }

    /// An agent that is enrolled and runs.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        Agent::running(&self.home, name, (&self.server, &self.cli)).await
    }

    /// The same, with further variables.
    pub(crate) async fn agent_with(&self, name: &str, variables: &[(&str, &str)]) -> Agent {
        let mut agent = Agent::new(&self.home, name);
        agent.enroll(&self.server, &self.token(name).await).await.ok();
        agent.start_with(variables);
        agent.online(&self.cli).await;
        agent
    }

    /// An API key of a new actor with these roles.
    pub(crate) async fn key_of(&self, name: &str, roles: Value) -> String {
        let actor = format!("actor-{name}");
        self.api.post("/api/v1/auth/actors", &serde_json::json!({"id": actor, "name": name, "roles": roles})).await.is(201);
        let key = self.api.post("/api/v1/auth/apikeys", &serde_json::json!({"actor_id": actor, "name": name})).await.is(201).json();
        let value = key["key_value"].as_str().unwrap().to_owned();
        self.home.plant_key(&value);
        value
    }

    /// Makes a target.
    pub(crate) async fn target(&self, name: &str, agent: &Agent, (kind, config): (&str, &Value)) {
        let file = self.home.write(&format!("target-{name}.json"), serde_json::json!({ "config": config }).to_string());
        let words = ["targets", "create", "--name", name, "--type", kind, "--agent", &agent.name, "--from-file", file.to_str().unwrap()];
        self.cli.run(&words).await.ok();
    }
}

/// An agent, an nginx beside it that serves one name, and a target for that.
pub(crate) struct Site {
    pub(crate) agent: Agent,
    pub(crate) nginx: Nginx,
}

impl Site {
    /// Sets it up; the target is called as the name's first label.
    pub(crate) async fn open(world: &World, name: &str) -> Self {
        let agent = world.agent("web-host").await;
        let nginx = Nginx::start(&world.home, &[name]).await;
        nginx.allow(&agent).await;
        let target = name.split('.').next().unwrap();
        world.target(target, &agent, ("NGINX", &nginx.target(name))).await;
        Self { agent, nginx }
    }
}
