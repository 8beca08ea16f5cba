//! The bare servers that the product is held against: axum and rustls as the product has them, and behind them one statement, one
//! signature, or nothing. They run in a process of their own, so that their processor time is told from that of the load.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::failure::{Context as _, Result};
use crate::tls;

/// What the bare server needs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    database: String,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Serves until it is killed.
pub(crate) async fn serve(args: Args) -> Result<()> {
    let pool =
        PgPoolOptions::new().min_connections(1).max_connections(POOL).connect_lazy(&args.database).context("the database's address")?;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context("no key")?;
    let app = Router::new()
        .route("/hello", get(async || "hello from a bare one"))
        .route("/sign", post(sign))
        .route("/select/{id}", get(select))
        .route("/page", get(page))
        .route("/update/{id}", post(update))
        .route("/commit/{text}", post(commit))
        .with_state(Arc::new(Bare { pool, key }));
    let acceptor = TlsAcceptor::from(tls::server(&args.certificate, &args.key)?);
    let listener = TcpListener::bind(args.listen).await.context("cannot listen")?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true).context("cannot accept")?;
        let (acceptor, app) = (acceptor.clone(), app.clone());
        connections.spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                // Who went away in the middle has seen enough.
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await.ok();
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Bare {
    pool: PgPool,
    key: EcdsaKeyPair,
}

type Answer<T> = std::result::Result<T, (StatusCode, String)>;

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn sign(State(bare): State<Arc<Bare>>) -> Answer<Vec<u8>> {
    let signature = bare.key.sign(&SystemRandom::new(), &[7; 300]).map_err(failed)?;
    Ok(signature.as_ref().to_vec())
}

async fn select(State(bare): State<Arc<Bare>>, Path(id): Path<String>) -> Answer<String> {
    let row = sqlx::query("SELECT name, common_name, status FROM certificates WHERE id = $1").bind(id).fetch_one(&bare.pool).await;
    line(&row.map_err(failed)?, &["name", "common_name", "status"])
}

/// Which page: exactly one of the four that the product is asked for.
#[derive(Debug, Default)]
struct Wanted {
    after: Option<(i64, String)>,
    status: Option<String>,
    q: Option<String>,
}

async fn page(State(bare): State<Arc<Bare>>, Query(query): Query<Vec<(String, String)>>) -> Answer<String> {
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let after = value("after").and_then(|micros| Some((micros.parse().ok()?, value("id")?)));
    let rows = rows(&bare.pool, Wanted { after, status: value("status"), q: value("q") }).await.map_err(failed)?;
    let mut text = String::with_capacity(8_192);
    for row in rows.iter().take(50) {
        text.push_str(&line(row, &["id", "name", "common_name", "status"])?);
    }
    Ok(text)
}

/// The statements of the product's lists, word for word, without its counting of what there is in all.
async fn rows(pool: &PgPool, wanted: Wanted) -> sqlx::Result<Vec<PgRow>> {
    match wanted {
        Wanted { after: Some((micros, id)), .. } => sqlx::query(AFTER).bind(micros).bind(id).fetch_all(pool).await,
        Wanted { status: Some(status), .. } => sqlx::query(FILTERED).bind(status).fetch_all(pool).await,
        Wanted { q: Some(q), .. } => sqlx::query(SEARCHED).bind(format!("%{q}%")).fetch_all(pool).await,
        Wanted { .. } => sqlx::query(FIRST).fetch_all(pool).await,
    }
}

fn line(row: &PgRow, columns: &[&str]) -> Answer<String> {
    let mut line = String::new();
    for column in columns {
        line.push_str(row.try_get::<&str, _>(*column).map_err(failed)?);
        line.push(' ');
    }
    line.push('\n');
    Ok(line)
}

async fn update(State(bare): State<Arc<Bare>>, Path(id): Path<i64>) -> Answer<&'static str> {
    let done = sqlx::query("UPDATE bench.beats SET at = now() WHERE id = $1").bind(id).execute(&bare.pool).await.map_err(failed)?;
    if done.rows_affected() == 1 { Ok("updated") } else { Err(failed("there is no such row")) }
}

async fn commit(State(bare): State<Arc<Bare>>, Path(text): Path<String>) -> Answer<&'static str> {
    sqlx::query("INSERT INTO bench.commits (body) VALUES ($1)").bind(text).execute(&bare.pool).await.map_err(failed)?;
    Ok("committed")
}

/// As many as the product holds by default.
const POOL: u32 = 20;

macro_rules! list {
    ($where:literal) => {
        concat!(
            "SELECT id, name, common_name, sans, environment, owner_id, team_id, issuer_id, target_ids, renewal_policy_id,
                    certificate_profile_id, key_algorithm, status, reason, hint, next_try_at, expires_at, tags, failures, last_failure_at,
                    last_renewal_at, last_deployment_at, revoked_at, revocation_reason, source, revision, created_at, updated_at
             FROM certificates ",
            $where,
            " ORDER BY created_at DESC, id DESC LIMIT 51"
        )
    };
}

const FIRST: &str = list!("");
const AFTER: &str = list!("WHERE (created_at, id) < (to_timestamp(0) + $1 * interval '1 microsecond', $2)");
const FILTERED: &str = list!("WHERE (status = $1)");
const SEARCHED: &str = list!(
    "WHERE (lower(name) LIKE lower($1) ESCAPE '\\'
     OR EXISTS (SELECT 1 FROM certificate_names n WHERE n.certificate_id = certificates.id AND n.name LIKE lower($1) ESCAPE '\\')
     OR EXISTS (SELECT 1 FROM certificate_versions v WHERE v.certificate_id = certificates.id AND v.serial_number LIKE lower($1) ESCAPE '\\')
     OR EXISTS (SELECT 1 FROM certificate_versions v WHERE v.certificate_id = certificates.id
                AND v.fingerprint_sha256 LIKE lower($1) ESCAPE '\\')
     OR lower(CAST(tags AS text)) LIKE lower($1) ESCAPE '\\')"
);
