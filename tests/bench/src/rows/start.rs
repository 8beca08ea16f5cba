//! Starting, and what an idle server costs.

use std::time::Duration;

use crate::compare::median;
use crate::failure::{Context as _, Result};
use crate::figure::{Goal, Row, number};
use crate::process::{resident, resident_of_files};
use crate::server::{Server, stripped_size};
use crate::world::World;

/// On an empty database, on one that is up to date, and then at rest.
#[expect(clippy::cast_precision_loss, reason = "bytes for people")]
pub(crate) async fn run(world: &World) -> Result<Vec<Row>> {
    let (mut empty, mut migrated, mut idle, mut files) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..STARTS {
        let database = format!("start_{n}");
        world.cluster.create(&database).await?;
        let url = world.cluster.url("certctl", &database);
        let first = Server::start(&world.setup, &database, &url).await?;
        empty.push(first.took.as_secs_f64());
        first.process.stop()?;
        let second = Server::start(&world.setup, &database, &url).await?;
        migrated.push(second.took.as_secs_f64());
        // Every periodic task has run by then.
        tokio::time::sleep(Duration::from_secs(3)).await;
        idle.push(resident(second.process.pid())? as f64 / MB);
        files.push(resident_of_files(second.process.pid())? as f64 / MB);
        second.process.stop()?;
    }
    let middle = |values: &mut Vec<f64>| median(values).context("nothing was started");
    let size = stripped_size(&world.setup.program, &world.setup.home)? as f64 / MB;
    Ok(vec![
        Row::about("start to ready, migrated database").goal(Goal::at_most("time", middle(&mut migrated)?, 0.3, "s")),
        Row::about("start to ready, empty database").goal(Goal::at_most("time", middle(&mut empty)?, 2.0, "s")),
        Row::about("memory at rest")
            .goal(Goal::at_most("RSS", middle(&mut idle)?, 20.0, "MB"))
            .note(format!("{} MB of it are pages of the program's file", number(middle(&mut files)?))),
        Row::about("size of the program").goal(Goal::at_most("size", size, 25.0, "MB")).note("stripped"),
    ])
}

const STARTS: usize = 3;
const MB: f64 = 1e6;
