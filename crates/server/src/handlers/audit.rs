//! The audit log: reading, exporting, and proving that nobody changed it.

use certctl_api::audit::AuditVerification;
use certctl_domain::audit::{AuditCategory, AuditEvent};
use certctl_domain::auth::perm::{AuditExport, AuditRead};
use certctl_domain::ids::AuditId;
use certctl_domain::noun::Check;
use certctl_domain::time::Timestamp;
use certctl_engine::{Ctx, Error, seal};
use certctl_store::audit::{self, EVENTS, Export, Verify};
use certctl_store::table::Table;
use futures_util::{Stream, stream};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::{Authorized, Json, Listing, Ndjson, Path, Query, Rows, RowsParams};
use crate::problem::Answer;

impl Rows for AuditEvent {
    const TABLE: Table = EVENTS;
}

/// What to export.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// The first instant.
    pub from: Timestamp,
    /// The first instant that is not exported; at most 90 days after `from`.
    pub to: Timestamp,
    /// Only this group of actions.
    pub category: Option<AuditCategory>,
    /// At most so many events, 1 to 100000; absent gives all.
    pub limit: Option<usize>,
}

/// From where to verify.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyQuery {
    /// The number of an event; absent begins at the oldest one.
    pub from: Option<i64>,
}

/// Lists events, the newest first.
pub async fn list(ctx: Authorized<AuditRead>, params: RowsParams<AuditEvent>) -> Answer<Listing<AuditEvent>> {
    let page = audit::list(ctx.store().db(), &params.query).await?;
    Ok(params.answer(page))
}

/// Reads an event.
pub async fn get(ctx: Authorized<AuditRead>, Path(id): Path<AuditId>) -> Answer<Json<AuditEvent>> {
    let event = audit::get(ctx.store().db(), &id).await?;
    Ok(Json(event.ok_or_else(|| Error::not_found("audit event", &id))?))
}

/// Exports events, the oldest first, one a line.
pub async fn export(ctx: Authorized<AuditExport>, Query(query): Query<ExportQuery>) -> Answer<Ndjson> {
    let mut check = Check::default();
    check
        .that(query.from < query.to, "to", "must be after from")
        .that(query.from.until(query.to) <= LONGEST_EXPORT, "to", "is at most 90 days after from")
        .that(query.limit.is_none_or(|limit| (1..=MOST_EXPORTED).contains(&limit)), "limit", "is from 1 to 100000");
    check.finish(|| ())?;
    let name = format!("audit-{}-{}.ndjson", day(query.from), day(query.to));
    let export = Export { from: query.from, to: query.to, category: query.category };
    Ok(Ndjson::new(name, events(&ctx, export, query.limit.unwrap_or(usize::MAX))))
}

/// Verifies the chain of events.
pub async fn verify(ctx: Authorized<AuditRead>, Query(query): Query<VerifyQuery>) -> Answer<Json<AuditVerification>> {
    // Whoever can write the database could sign checkpoints with a key of their own; the one that is kept sealed is believed alone.
    let key = seal::key(&ctx).await?.public_key();
    let report = audit::verify(ctx.store().db(), &Verify { from: query.from, trusted_keys: &[key] }, |_| ()).await?;
    Ok(Json(AuditVerification {
        intact: report.holds(),
        checked: report.checked,
        head_sequence: report.head.as_ref().map(|head| head.sequence),
        head_hash: report.head.map(|head| head.row_hash),
        broken_at: report.first_break.as_ref().map(|place| place.sequence),
        broken: report.first_break.map(|place| place.what),
        unsealed: report.unsealed,
        checkpoints: report.checkpoints,
        keys: report.keys.into_iter().collect(),
    }))
}

/// Reads a part, hands it out, reads the next: flat memory, however long the export.
fn events(ctx: &Ctx, export: Export, limit: usize) -> impl Stream<Item = certctl_engine::Result<AuditEvent>> + Send + 'static {
    let store = ctx.store().clone();
    let parts = stream::try_unfold(None, move |last: Option<AuditEvent>| {
        let store = store.clone();
        async move {
            let part = audit::export(store.db(), &export, last.as_ref()).await?;
            Ok::<_, Error>(part.last().cloned().map(|last| (stream::iter(part.into_iter().map(Ok)), Some(last))))
        }
    });
    futures_util::StreamExt::take(futures_util::TryStreamExt::try_flatten(parts), limit)
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

const LONGEST_EXPORT: time::Duration = time::Duration::days(90);
const MOST_EXPORTED: usize = 100_000;
