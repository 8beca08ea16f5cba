//! Reading certificates: one, and pages of a list.

use serde_json::Value;
use sqlx::Row as _;

use crate::compare::row;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row, number};
use crate::http::{Connection, request};
use crate::load::Work;
use crate::world::{FEW, World};

/// One certificate by its id.
pub(crate) async fn get(world: &World) -> Result<Vec<Row>> {
    let ids = (0..1_000).map(|n| format!("mc-bench-{}", 1 + n * 49));
    let (product, limit): (Vec<_>, Vec<_>) = ids
        .map(|id| {
            let product = request("GET", &format!("/api/v1/certificates/{id}"), Some(&world.large.token), None);
            (product, request("GET", &format!("/select/{id}"), None, None))
        })
        .unzip();
    let shown = world.large.get("/api/v1/certificates/mc-bench-50").await?;
    if shown.get("name").and_then(Value::as_str) != Some("service-50") {
        return Err(Failure::new(format!("certificate mc-bench-50 is shown as {shown}")));
    }
    let both = world.compare(CONNECTIONS, &world.product(Work::many(product, 200)), &world.limit(Work::many(limit, 200))).await?;
    Ok(vec![row("get one certificate", "one select", &both, 0.6)])
}

/// The first page, the thousandth, a filtered one and a searched one.
pub(crate) async fn pages(world: &World) -> Result<Vec<Row>> {
    let all = number(count(world.certificates));
    let first = LIST.to_owned();
    let (cursor, micros, id) = thousandth(world).await?;
    let deep = format!("{LIST}&cursor={cursor}");
    let filtered = format!("{LIST}&status=Expiring");
    let searched = format!("{LIST}&q=service-4321");
    let total = Some(world.certificates + 1);
    let expiring = Some(world.certificates / 50).filter(|n| *n <= 10_000);
    // 4321, 43210 to 43219, and so on, as far as there are certificates.
    let matching = [1, 10, 100].iter().filter(|more| 4_321 * **more <= world.certificates).sum::<u64>();
    for (path, rows, total) in
        [(&first, 50, total), (&deep, 50, total), (&filtered, 50, expiring), (&searched, matching.min(50), Some(matching))]
    {
        check(world, path, rows, total).await?;
    }
    let few = if world.certificates > 100_000 { 2 } else { CONNECTIONS };
    let pages = [
        ("page 1 of 50", CONNECTIONS, &first, "/page".to_owned()),
        ("page 1000 of 50", CONNECTIONS, &deep, format!("/page?after={micros}&id={id}")),
        ("page of 50, filtered by status", CONNECTIONS, &filtered, "/page?status=Expiring".to_owned()),
        ("page, searched", few, &searched, "/page?q=service-4321".to_owned()),
    ];
    let mut rows = Vec::new();
    for (what, connections, product, limit) in pages {
        let both = world.compare_paths(connections, product, &limit).await.context(what)?;
        rows.push(row(format!("{what}, at {all}"), "same query", &both, 0.35));
    }
    rows.push(against_first(world, &first, &deep).await?);
    Ok(rows)
}

/// The first page of the large installation against that of the small one.
pub(crate) async fn size(world: &World) -> Result<Vec<Row>> {
    let large = world.product(Work::one(request("GET", LIST, Some(&world.large.token), None), 200));
    let small = world.small(Work::one(request("GET", LIST, Some(&world.small.token), None), 200));
    let both = world.compare(CONNECTIONS, &large, &small).await?;
    let what = format!("page 1 of 50, at {} against {}", number(count(world.certificates)), number(count(FEW)));
    Ok(vec![row(what, "the small installation", &both, 0.7)])
}

async fn against_first(world: &World, first: &str, deep: &str) -> Result<Row> {
    let work = |path| Work::one(request("GET", path, Some(&world.large.token), None), 200);
    let [deep, first] = world.compare(CONNECTIONS, &world.product(work(deep)), &world.product(work(first))).await?;
    let times = first.rate / deep.rate.max(1e-9);
    let row = deep.row(format!("page 1000 against page 1, at {}", number(count(world.certificates)))).beside("page 1", &first);
    Ok(row.goal(Goal::at_most("time for page 1", times, 1.2, "times")))
}

/// Walks to the end of page 999: the cursor of the next one, and the row it stands at.
async fn thousandth(world: &World) -> Result<(String, i64, String)> {
    let mut connection = Connection::open(&world.large.target).await?;
    let mut cursor = String::new();
    for _ in 0..111 {
        let path = format!("/api/v1/certificates?per_page=450{}{cursor}", if cursor.is_empty() { "" } else { "&cursor=" });
        let page = connection.ask(&request("GET", &path, Some(&world.large.token), None)).await?.json(200)?;
        page.get("next_cursor").and_then(Value::as_str).context("the list ends early")?.clone_into(&mut cursor);
    }
    let statement = "SELECT (extract(epoch FROM created_at) * 1000000)::bigint AS micros, id FROM certificates
                     ORDER BY created_at DESC, id DESC OFFSET 49949 LIMIT 1";
    let row = sqlx::query(statement).fetch_one(&mut world.sql().await?).await.context("cannot find the thousandth page")?;
    let read = |error| format!("cannot read the thousandth page: {error}");
    Ok((cursor, row.try_get("micros").map_err(read).context("")?, row.try_get("id").map_err(read).context("")?))
}

/// Whether a page says what it should.
async fn check(world: &World, path: &str, rows: u64, total: Option<u64>) -> Result<()> {
    let page = world.large.get(path).await?;
    let n = page.get("data").and_then(Value::as_array).map(Vec::len);
    let said = page.get("total").and_then(Value::as_u64);
    if n.and_then(|n| u64::try_from(n).ok()) != Some(rows) || total.is_some_and(|total| said != Some(total)) {
        return Err(Failure::new(format!("GET {path}: {n:?} rows of {said:?} instead of {rows} of {total:?}")));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for words only")]
const fn count(n: u64) -> f64 {
    n as f64
}

const LIST: &str = "/api/v1/certificates?per_page=50";
const CONNECTIONS: usize = 16;
