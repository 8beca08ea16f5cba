//! Whether this process can do its work: database, schema, encryption keys, scheduler, its own certificate. Public, so nothing of a driver leaks.

use std::sync::Arc;

use certctl_engine::Engine;
use certctl_store::{StoreError, leases, migrate, secrets};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::state::{Readiness, ReadinessCheck};
use crate::tls::ReloadingTls;

/// Looks at everything that this process cannot work without.
#[derive(Debug)]
pub struct Ready {
    engine: Arc<Engine>,
    tls: Arc<ReloadingTls>,
}

impl Ready {
    /// Over the engine and the certificate of this process.
    #[must_use]
    pub const fn new(engine: Arc<Engine>, tls: Arc<ReloadingTls>) -> Self {
        Self { engine, tls }
    }

    async fn look(&self) -> Vec<ReadinessCheck> {
        let now = self.engine.now();
        let (database, schema) = match migrate::check(self.engine.store().db()).await {
            Ok(_) => (None, None),
            Err(error @ (StoreError::SchemaNewer { .. } | StoreError::SchemaOlder { .. })) => (None, Some(error.to_string())),
            Err(_) => (Some("the database does not answer".to_owned()), Some("the database does not answer".to_owned())),
        };
        let scheduler = match leases::list(self.engine.store().db()).await {
            // Some replica, this one or another, holds the lease of the task that everything depends on.
            Ok(rows) => match rows.iter().find(|row| row.name == certctl_engine::renewal::TASK) {
                // After the death of its holder a lease ends before somebody else takes it.
                Some(row) if row.expires_at.saturating_add(GRACE) > now => None,
                Some(_) => Some("no replica looks for renewals that are due".to_owned()),
                None => Some("the scheduler has not begun yet".to_owned()),
            },
            Err(_) => Some("the database does not answer".to_owned()),
        };
        let encryption = match secrets::missing_keys(self.engine.store()).await {
            Ok(missing) => {
                (!missing.is_empty()).then(|| "secrets are sealed under an encryption key that this server was not given".to_owned())
            }
            Err(_) => Some("the database does not answer".to_owned()),
        };
        let certificate = (self.tls.status().not_after <= now).then(|| "the server's own certificate has ended".to_owned());
        vec![
            ReadinessCheck { name: "database", problem: database },
            ReadinessCheck { name: "schema", problem: schema },
            ReadinessCheck { name: "encryption", problem: encryption },
            ReadinessCheck { name: "scheduler", problem: scheduler },
            ReadinessCheck { name: "tls", problem: certificate },
        ]
    }
}

impl Readiness for Ready {
    fn check(&self) -> BoxFuture<'_, Vec<ReadinessCheck>> {
        self.look().boxed()
    }
}

/// How long nobody need hold the lease of the scheduler.
const GRACE: time::Duration = time::Duration::seconds(60);
