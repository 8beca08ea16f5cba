//! One look for all who ask at the same time: whoever comes while it is taken waits, and is given the next one together with all others who
//! came meanwhile. So the database is asked once at a time, however many ask, and nobody is told what was so before they asked, unless
//! they allow it to be that old.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// A look that is shared. What is kept of the last one is what it gave, or why it gave nothing.
#[derive(Debug)]
pub struct Shared<T, E> {
    last: Mutex<Option<Look<T, E>>>,
}

#[derive(Debug)]
struct Look<T, E> {
    begun: Instant,
    saw: Result<Arc<T>, Arc<E>>,
}

impl<T, E> Shared<T, E> {
    /// Gives what `look` sees, or what another caller's look saw that began no longer than `age` before this call. A look that failed is
    /// shared by those who waited for it, and never kept. When the caller goes away, the next one who waits looks.
    ///
    /// # Errors
    /// When the look failed.
    pub async fn take<F>(&self, age: Duration, look: impl FnOnce() -> F) -> Result<Arc<T>, Arc<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(Look { begun, saw }) = &*last
            && match saw {
                Ok(_) => begun.checked_add(age).is_some_and(|until| until >= asked),
                Err(_) => *begun >= asked,
            }
        {
            return saw.clone();
        }
        let begun = Instant::now();
        let saw = look().await.map(Arc::new).map_err(Arc::new);
        *last = Some(Look { begun, saw: saw.clone() });
        saw
    }
}

impl<T, E> Default for Shared<T, E> {
    fn default() -> Self {
        Self { last: Mutex::new(None) }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use futures_util::poll;
    use tokio::sync::Semaphore;

    use super::*;

    /// A look that waits to be let go, and counts.
    struct Gate {
        looks: AtomicU32,
        open: Semaphore,
    }

    impl Gate {
        fn closed() -> Self {
            Self { looks: AtomicU32::new(0), open: Semaphore::new(0) }
        }

        async fn look(&self) -> Result<u32, Infallible> {
            let nth = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
            self.open.acquire().await.unwrap().forget();
            Ok(nth)
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn who_comes_during_a_look_shares_the_next_one() {
        let (shared, gate) = (Shared::default(), Gate::closed());
        let mut first = Box::pin(shared.take(Duration::ZERO, || gate.look()));
        assert!(poll!(&mut first).is_pending());
        let mut others: Vec<_> = (0..20).map(|_| Box::pin(shared.take(Duration::ZERO, || gate.look()))).collect();
        for other in &mut others {
            assert!(poll!(other).is_pending());
        }
        gate.open.add_permits(2);
        assert_eq!(*first.await.unwrap(), 1);
        // What they are told began after they asked.
        assert!(join_all(others).await.into_iter().all(|saw| *saw.unwrap() == 2));
        assert_eq!(gate.looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_may_be_as_old_as_the_caller_allows() {
        let (shared, gate) = (Shared::default(), Gate::closed());
        gate.open.add_permits(9);
        assert_eq!(*shared.take(HOUR, || gate.look()).await.unwrap(), 1);
        assert_eq!(*shared.take(HOUR, || gate.look()).await.unwrap(), 1);
        assert_eq!(*shared.take(Duration::ZERO, || gate.look()).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_leaves_the_look_to_the_next() {
        let (shared, gate) = (Shared::default(), Gate::closed());
        let mut first = Box::pin(shared.take(HOUR, || gate.look()));
        assert!(poll!(&mut first).is_pending());
        let mut second = Box::pin(shared.take(HOUR, || gate.look()));
        assert!(poll!(&mut second).is_pending());
        drop(first);
        gate.open.add_permits(1);
        assert_eq!(*second.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_those_who_waited_and_not_kept() {
        let shared: Shared<u32, &str> = Shared::default();
        let (tries, open) = (AtomicU32::new(0), Semaphore::new(0));
        let fail = || async {
            tries.fetch_add(1, Ordering::SeqCst);
            open.acquire().await.unwrap().forget();
            Err("no database")
        };
        let mut callers: Vec<_> = (0..5).map(|_| Box::pin(shared.take(HOUR, fail))).collect();
        for caller in &mut callers {
            assert!(poll!(caller).is_pending());
        }
        open.add_permits(2);
        assert!(join_all(callers).await.into_iter().all(|saw| *saw.unwrap_err() == "no database"));
        assert_eq!(tries.load(Ordering::SeqCst), 2);
        assert_eq!(*shared.take(HOUR, async || Ok(7)).await.unwrap(), 7);
    }
}
