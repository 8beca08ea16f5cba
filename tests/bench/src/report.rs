//! The table: for the terminal, for the documentation, and for programs.

use std::path::Path;

use serde_json::json;
use sqlx::PgConnection;

use crate::failure::{Context as _, Result};
use crate::figure::{Row, number};
use crate::files;
use crate::say;

/// Where and when it was measured.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// As it was typed.
    pub(crate) command: String,
    /// Of the source.
    pub(crate) revision: String,
    date: String,
    machine: String,
    postgres: String,
}

impl Circumstances {
    /// Looks around.
    pub(crate) async fn look(sql: &mut PgConnection, command: String, revision: String) -> Result<Self> {
        let statement = "SELECT current_date::text, current_setting('server_version')";
        let (date, postgres) = sqlx::query_as(statement).fetch_one(sql).await.context("cannot ask PostgreSQL for its version")?;
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let processor = field(&files::read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown processor".to_owned());
        let memory = field(&files::read("/proc/meminfo")?, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let kernel = files::read("/proc/sys/kernel/osrelease")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let machine =
            format!("{cores} cores ({processor}), {} GiB of memory, Linux {}", memory.unwrap_or_default() / (1024 * 1024), kernel.trim());
        Ok(Self { command, revision, date, machine, postgres })
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            ("date", self.date.clone()),
            ("machine", self.machine.clone()),
            ("database", format!("PostgreSQL {}, default durability", self.postgres)),
            ("revision", self.revision.clone()),
            ("command", format!("`{}`", self.command)),
        ]
    }
}

/// Prints the table.
pub(crate) fn print(rows: &[Row], around: &Circumstances) {
    for (name, value) in around.lines() {
        say::line(format_args!("{name:<9} {value}"));
    }
    let mut table = vec![HEAD.map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    let mut widths = [0; COLUMNS];
    for line in &table {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    say::line("");
    for line in &table {
        let padded: Vec<String> = line
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(at, (cell, width))| {
                let left = [0, 7, COLUMNS - 1].contains(&at);
                if left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            })
            .collect();
        say::line(padded.join("  ").trim_end());
    }
}

/// Writes the page of the documentation.
pub(crate) fn write_page(path: &Path, rows: &[Row], around: &Circumstances) -> Result<()> {
    let mut page = format!("{INTRODUCTION}\n| | |\n|---|---|\n");
    for (name, value) in around.lines() {
        page.push_str(&format!("| {name} | {value} |\n"));
    }
    page.push_str("\n| ");
    page.push_str(&HEAD.join(" | "));
    page.push_str(" |\n|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|---|\n");
    for row in rows {
        page.push_str(&format!("| {} |\n", cells(row).map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    page.push_str(READING);
    files::write(path, page)
}

/// Writes everything for programs.
pub(crate) fn write_json(path: &Path, rows: &[Row], around: &Circumstances) -> Result<()> {
    let lines = around.lines().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    let all = json!({
        "circumstances": lines.collect::<serde_json::Map<_, _>>(),
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    files::write(path, format!("{all:#}\n"))
}

fn cells(row: &Row) -> [String; COLUMNS] {
    let ms = |time: Option<std::time::Duration>| time.map_or_else(String::new, |time| number(time.as_secs_f64() * 1e3));
    let rate = row
        .rate
        .map_or_else(String::new, |rate| if row.unit == "requests" { number(rate) } else { format!("{} {}", number(rate), row.unit) });
    let cpu = match (row.server_cpu, row.postgres_cpu) {
        (Some(server), Some(postgres)) => format!("{} + {}", number(server), number(postgres)),
        _ => String::new(),
    };
    let mut goals: Vec<String> = row.goals.iter().map(crate::figure::Goal::text).collect();
    if !row.note.is_empty() {
        goals.push(row.note.clone());
    }
    [
        row.workload.clone(),
        rate,
        ms(row.p50),
        ms(row.p99),
        cpu,
        row.statements.map_or_else(String::new, |statements| format!("{statements:.2}")),
        row.memory.map_or_else(String::new, |bytes| number(f64::from(u32::try_from(bytes / 1_000_000).unwrap_or(u32::MAX)))),
        row.limit.map_or_else(String::new, |(what, rate)| format!("{what}: {}", number(rate))),
        row.limit_cpu.map_or_else(String::new, number),
        row.ratio().map_or_else(String::new, number),
        row.cpu_ratio().map_or_else(String::new, number),
        goals.join("; "),
    ]
}

const COLUMNS: usize = 12;
const HEAD: [&str; COLUMNS] = [
    "workload",
    "rate /s",
    "p50 ms",
    "p99 ms",
    "CPU ms server + database",
    "statements",
    "RSS MB",
    "limit /s",
    "limit CPU ms",
    "ratio",
    "CPU ratio",
    "goal",
];

const INTRODUCTION: &str = "<!-- Written by `cargo xtask bench --write`. Do not edit it: run that again. -->
# Performance

What the server does on one machine, each workload beside the nearest limit that was measured in the same run. The goals are ratios to
that limit wherever there is one: they mean the same on another machine, while rates do not.
";

const READING: &str = "
## How to read it

- Load generator, servers and PostgreSQL share the machine, so **rates are lower bounds**. Ratios and processor time for one request hold
  further; differences of less than a tenth mean nothing.
- **rate**: a closed loop over 16 kept TLS 1.3 connections with HTTP/1.1 (fewer where a request takes long); the median of the rounds.
  Product and limit are measured in turn, so that what else the machine does meets both.
- **CPU**: processor time of the server's process and of all processes of PostgreSQL, divided by the answers; **limit CPU** is both together
  for the bare server.
- **statements**: sent to PostgreSQL by the server for one answer, `BEGIN` and `COMMIT` included, and what its periodic tasks ask meanwhile.
- **RSS**: the most memory that the server had in use while this was measured, with whatever ran before it.
- **limit**: a bare server over axum and rustls, with the same certificate and TLS parameters, in a process of its own: `hello` answers a
  fixed text; `one select` reads one certificate by its id; `same query` runs the statement of the page without counting the whole;
  `one update` and `one commit` write one row in a transaction of its own; `one signature` is ECDSA P-256. Where the limit is no HTTP
  request, it is the same work by the shortest way: one statement, or commits of 200 rows.
- **ratio**: rate by limit; **CPU ratio**: processor time of the limit by that of the product, which other load on the machine moves less.
- A missed goal does not make the command fail; a wrong answer does, and a count that is not exact.
- PostgreSQL runs with its default durability: every commit is synced. The log level of the servers is `warn`.
- The certificates, agents and audit events are written by bulk statements, as the product itself would have written them.
";
