//! Supervision, stages, signals.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};

use super::*;
use crate::fixture::soon;

async fn requested(shutdown: &Shutdown) -> StopReason {
    soon("a stop is asked for", shutdown.requested()).await
}

#[tokio::test]
async fn a_panicking_task_stops_the_process_with_its_name() {
    let shutdown = Shutdown::new();
    let group = TaskGroup::new(shutdown.clone());
    group.spawn::<Infallible>("sealer", async { panic!("no chain") });
    let reason = requested(&shutdown).await;
    assert!(reason.is_failure());
    assert_eq!(reason.to_string(), "task `sealer` panicked: no chain");
    assert!(group.finish(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test]
async fn a_task_that_fails_or_falls_silent_stops_the_process() {
    let shutdown = Shutdown::new();
    TaskGroup::new(shutdown.clone()).spawn("listener", async { Err("no sockets left") });
    assert_eq!(requested(&shutdown).await.to_string(), "task `listener` failed: no sockets left");

    let shutdown = Shutdown::new();
    TaskGroup::new(shutdown.clone()).spawn_service("scheduler", async {});
    assert_eq!(requested(&shutdown).await.to_string(), "task `scheduler` ended although nobody asked it to");
}

#[tokio::test]
async fn tasks_that_end_when_asked_are_no_failure_and_the_first_reason_counts() {
    let shutdown = Shutdown::new();
    let group = TaskGroup::new(shutdown.clone());
    let stop = shutdown.stop_token().clone();
    group.spawn_service("scheduler", async move { stop.cancelled().await });
    group.spawn::<Infallible>("backfill", async { Ok(()) });
    assert!(group.running().contains(&"scheduler"));
    shutdown.request(StopReason::Signal("SIGTERM"));
    shutdown.request(StopReason::Finished);
    assert_eq!(group.finish(Duration::from_secs(10)).await, Vec::<&str>::new());
    assert_eq!(requested(&shutdown).await, StopReason::Signal("SIGTERM"));
    assert!(group.running().is_empty());
}

#[tokio::test]
async fn tasks_that_do_not_stop_are_named_and_cut_off() {
    let shutdown = Shutdown::new();
    let group = TaskGroup::new(shutdown.clone());
    group.spawn_service("deaf", pending());
    shutdown.request(StopReason::Finished);
    assert_eq!(group.finish(Duration::from_millis(10)).await, ["deaf"]);
    // Cut off, it ends; that is no failure of its own.
    assert!(group.finish(Duration::from_secs(10)).await.is_empty());
    assert_eq!(requested(&shutdown).await, StopReason::Finished);
}

#[tokio::test]
async fn an_abort_ends_tasks_at_once() {
    let shutdown = Shutdown::new();
    let group = TaskGroup::new(shutdown.clone());
    group.spawn_service("deaf", pending());
    shutdown.abort();
    assert!(group.finish(Duration::from_secs(10)).await.is_empty());
}

#[tokio::test]
async fn a_slow_stage_leaves_time_for_the_next() {
    let shutdown = Shutdown::new();
    let mut stages = Stages::begin(&shutdown, Duration::from_secs(3600));
    assert_eq!(stages.stage("connections", 0, pending::<()>()).await, None);
    assert_eq!(stages.stage("leases", 100, async { 7 }).await, Some(7));
    assert!(stages.remaining(100) > Duration::ZERO);
    let report = stages.finish();
    assert_eq!(report.cut_off, ["connections"]);
    assert!(report.took >= Duration::from_millis(250));
}

#[tokio::test]
async fn an_abort_cuts_stages_off_but_lets_quick_ones_be_done() {
    let shutdown = Shutdown::new();
    let mut stages = Stages::begin(&shutdown, Duration::from_secs(3600));
    shutdown.abort();
    assert_eq!(stages.stage("connections", 60, pending::<()>()).await, None);
    assert_eq!(stages.stage("leases", 100, async { 7 }).await, Some(7));
    assert!(stages.finish().took < Duration::from_secs(60));
}

/// In one test, because a signal reaches every listener in the process.
#[tokio::test]
async fn the_first_signal_stops_and_the_second_ends_the_waiting() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT")] {
        let shutdown = Shutdown::new();
        let signals = Signals::listen().unwrap();
        let work = async {
            raise(signal).unwrap();
            let reason = requested(&shutdown).await;
            assert!(!shutdown.abort_token().is_cancelled());
            raise(signal).unwrap();
            shutdown.abort_token().cancelled().await;
            reason
        };
        let reason = soon("both signals are heeded", signals.heed_during(&shutdown, work)).await;
        assert_eq!(reason, StopReason::Signal(name));
        assert!(!reason.is_failure());
    }
}
