//! Macros that write the same test once for each database.

/// Makes two tests of each function: `name::sqlite` and `name::postgres`.
///
/// The argument's type has `async fn open(engine: certctl_testkit::Engine) -> Self`; [`test_store!`](crate::test_store) makes such a type.
///
/// ```text
/// both_databases! {
///     async fn an_owner_is_read_back(store: TestStore) {
///         ...
///     }
/// }
/// ```
#[macro_export]
macro_rules! both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($argument:ident: $fixture:ty) $body:block)+) => { $(
        #[cfg(test)]
        mod $name {
            use super::*;

            $(#[$attribute])*
            async fn body($argument: $fixture) $body

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(<$fixture>::open($crate::Engine::Sqlite).await).await;
            }

            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body(<$fixture>::open($crate::Engine::Postgres).await).await;
            }
        }
    )+ };
}

/// Defines `TestStore`: a migrated `certctl_store::Store` on a database of its own, which ends with it. It dereferences to the store.
///
/// The test kit cannot name the store, which depends on it for its own tests; so this expands to code of the crate that calls it.
#[macro_export]
macro_rules! test_store {
    () => {
        /// A migrated store on a database of its own, which ends with it.
        #[derive(Debug)]
        pub(crate) struct TestStore {
            store: ::certctl_store::Store,
            database: $crate::Database,
        }

        impl TestStore {
            /// A fresh database with the current schema and nothing in it.
            pub(crate) async fn open(engine: $crate::Engine) -> Self {
                let schema = ::certctl_store::migrate::fingerprint();
                let database = $crate::Database::filled(engine, &schema, async |url| {
                    let store = Self::connect(&url).await;
                    ::certctl_store::migrate::migrate(store.db(), ::certctl_store::migrate::Patience::default())
                        .await
                        .expect("the schema can be made");
                    store.db().close().await;
                })
                .await;
                Self { store: Self::connect(database.url()).await, database }
            }

            /// Another store on the same database, as another replica or a later start has it.
            #[allow(dead_code, clippy::allow_attributes, reason = "not every test crate has replicas")]
            pub(crate) async fn replica(&self) -> ::certctl_store::Store {
                Self::connect(self.database.url()).await
            }

            /// The database below.
            #[allow(dead_code, clippy::allow_attributes, reason = "not every test crate looks below the store")]
            pub(crate) const fn database(&self) -> &$crate::Database {
                &self.database
            }

            pub(crate) async fn connect(url: &str) -> ::certctl_store::Store {
                let key = "Y2VydGN0bCB0ZXN0IGtleSwgMzIgYnl0ZXMgbG9uZy4=".to_owned();
                let keyring = ::certctl_store::secrets::Keyring::from_texts(key.into(), Vec::new()).expect("the key is good");
                let options = ::certctl_store::OpenOptions {
                    url: url.to_owned().into(),
                    max_connections: 8,
                    acquire_timeout: std::time::Duration::from_secs(10),
                    durable: false,
                };
                ::certctl_store::Store::open(&options, keyring).await.expect("the database can be opened")
            }
        }

        impl ::std::ops::Deref for TestStore {
            type Target = ::certctl_store::Store;

            fn deref(&self) -> &::certctl_store::Store {
                &self.store
            }
        }
    };
}
