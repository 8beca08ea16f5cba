//! Signed answers in memory, by serial number, so that a revocation finds them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aws_lc_rs::digest;
use certctl_domain::ids::IssuerId;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Serial;
use certctl_pki::ocsp::CertId;

/// A signed answer that is good for everybody who asks.
#[derive(Debug)]
pub struct Kept {
    /// The response.
    pub der: Arc<[u8]>,
    /// Tells it from the one before and the one after.
    pub tag: String,
    /// As of when.
    pub this_update: Timestamp,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// By when there is a newer one.
    pub next_update: Timestamp,
}

/// Signed answers in memory. Only those about certificates that were issued: nobody can fill it with questions.
#[derive(Debug, Default)]
pub struct Answers(RwLock<Shelves>);

/// Two generations: what is not asked for while the young one fills up is forgotten.
#[derive(Debug, Default)]
struct Shelves {
    epoch: u64,
    young: Generation,
    old: Generation,
}

/// By issuer and serial number: the answers to each way in which it was asked.
type Generation = HashMap<(IssuerId, Serial), Vec<(CertId, Arc<Kept>)>>;

impl Kept {
    pub(super) fn new(der: Arc<[u8]>, this_update: Timestamp, signed_at: Timestamp, next_update: Timestamp) -> Self {
        let tag = hex::encode(digest::digest(&digest::SHA256, &der));
        Self { der, tag, this_update, signed_at, next_update }
    }

    /// Until half of its time is over; then another is signed, so that nobody gets one that ends at once.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let half = self.signed_at.until(self.next_update) / 2;
        self.signed_at <= now && now < self.signed_at.saturating_add(half)
    }
}

impl Answers {
    /// Changes when answers were forgotten.
    pub(super) fn epoch(&self) -> u64 {
        self.read().epoch
    }

    /// A fresh answer to this question.
    pub(super) fn get(&self, issuer: &IssuerId, serial: &Serial, id: &CertId, now: Timestamp) -> Option<Arc<Kept>> {
        let key = (issuer.clone(), serial.clone());
        let shelves = self.read();
        let found = |generation: &Generation| {
            let kept = generation.get(&key)?.iter().find(|(asked, _)| asked == id)?;
            Some(Arc::clone(&kept.1)).filter(|kept| kept.is_fresh(now))
        };
        found(&shelves.young).or_else(|| found(&shelves.old))
    }

    /// Keeps an answer, unless something was forgotten since `epoch`: then it may be stale already.
    pub(super) fn keep(&self, epoch: u64, (issuer, serial): (&IssuerId, &Serial), id: &CertId, kept: &Arc<Kept>) {
        let mut shelves = self.write();
        if shelves.epoch != epoch {
            return;
        }
        if shelves.young.len() >= MOST {
            shelves.old = std::mem::take(&mut shelves.young);
        }
        let answers = shelves.young.entry((issuer.clone(), serial.clone())).or_default();
        answers.retain(|(asked, _)| asked != id);
        // One certificate can be named in some ways, not in any number.
        answers.truncate(MOST_SPELLINGS - 1);
        answers.push((id.clone(), Arc::clone(kept)));
    }

    /// Forgets everything about these serial numbers; says how many there were.
    pub(crate) fn forget(&self, issuer: &IssuerId, serials: &[Serial]) -> u64 {
        if serials.is_empty() {
            return 0;
        }
        let mut shelves = self.write();
        // Also when there is nothing to forget: a status that was read before may be about to be kept.
        shelves.epoch += 1;
        let mut forgotten = 0;
        for serial in serials {
            let key = (issuer.clone(), serial.clone());
            let (young, old) = (shelves.young.remove(&key), shelves.old.remove(&key));
            forgotten += u64::from(young.is_some() || old.is_some());
        }
        forgotten
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Certificates of a generation; an answer has about a kilobyte.
const MOST: usize = 16_384;

/// Hash algorithms times the usual spellings of their parameters.
const MOST_SPELLINGS: usize = 8;

#[cfg(test)]
mod tests {
    use certctl_domain::ids::Id as _;
    use certctl_pki::certificate::Certificate;
    use certctl_pki::key::PrivateKey;
    use certctl_pki::ocsp::IssuerHashes;
    use certctl_pki::signer::SoftwareSigner;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds).unwrap()
    }

    async fn ca() -> Certificate {
        let signer = SoftwareSigner::new(PrivateKey::generate(certctl_domain::x509::KeyAlgorithm::EcdsaP256).unwrap());
        let spec = certctl_pki::authority::RootSpec {
            subject: certctl_pki::dn::Subject::with_common_name("Test").unwrap(),
            validity: certctl_pki::authority::Validity::starting(at(0), time::Duration::DAY, time::Duration::ZERO).unwrap(),
            serial: Serial::parse("01").unwrap(),
            path_len: None,
        };
        spec.self_sign(&signer).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_read_before_a_revocation_is_not_kept_after_it() {
        let (issuer, serial) = (IssuerId::parse("iss-1").unwrap(), Serial::parse("0a").unwrap());
        let id = CertId::new(&IssuerHashes::of(&ca().await), &serial).unwrap();
        let kept = Arc::new(Kept::new(Arc::from([1_u8]), at(0), at(0), at(3_600)));
        let answers = Answers::default();
        let epoch = answers.epoch();
        answers.keep(epoch, (&issuer, &serial), &id, &kept);
        assert!(answers.get(&issuer, &serial, &id, at(1_799)).is_some());
        assert!(answers.get(&issuer, &serial, &id, at(1_800)).is_none(), "half of its time is over");
        assert_eq!(answers.forget(&issuer, std::slice::from_ref(&serial)), 1);
        answers.keep(epoch, (&issuer, &serial), &id, &kept);
        assert!(answers.get(&issuer, &serial, &id, at(1)).is_none());
        answers.keep(answers.epoch(), (&issuer, &serial), &id, &kept);
        assert!(answers.get(&issuer, &serial, &id, at(1)).is_some());
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let issuer = IssuerId::parse("iss-1").unwrap();
        let hashes = IssuerHashes::of(&ca().await);
        let kept = Arc::new(Kept::new(Arc::from([1_u8]), at(0), at(0), at(3_600)));
        let answers = Answers::default();
        for n in 1..=3 * MOST {
            let serial = Serial::parse(&format!("{n:x}")).unwrap();
            answers.keep(0, (&issuer, &serial), &CertId::new(&hashes, &serial).unwrap(), &kept);
        }
        let shelves = answers.read();
        assert!(shelves.young.len() + shelves.old.len() <= 2 * MOST);
    }
}
