//! The house that every test here lives in: an engine on a fresh database, and agents that do what the real one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use certctl_domain::agent::AgentFacts;
use certctl_domain::auth::{ActorKind, Grants, Permission};
use certctl_domain::certificate::{Certificate, Version};
use certctl_domain::ids::{ActorId, AgentId, CertificateId, Id as _, TargetId};
use certctl_domain::job::{Job, JobKind, JobStatus, WorkItem};
use certctl_domain::list::ListQuery;
use certctl_domain::secret::Secret;
use certctl_domain::target::Target;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::SanSet;
use certctl_engine::agents::{self, Enrollment, Submission};
use certctl_engine::clock::{Clock as _, FakeClock};
use certctl_engine::deploy::{self, Progress, Report};
use certctl_engine::publication::{Base, Settings};
use certctl_engine::{Caller, Ctx, Engine, Options, auth, crud, scheduler, seed};
use certctl_pki::csr::Csr;
use certctl_pki::key::PrivateKey;
use certctl_store::Who;
use certctl_store::db::{Sql, sql};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::TestStore;

/// An engine with its worker running, and a clock that stands still.
pub(crate) struct House {
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) store: TestStore,
    stop: CancellationToken,
}

/// An agent that enrolled.
pub(crate) struct TestAgent {
    pub(crate) id: AgentId,
    pub(crate) ctx: Ctx,
}

impl House {
    pub(crate) async fn open(engine: certctl_testkit::Engine) -> Self {
        Self::open_at(engine, "2027-03-01T12:00:00Z".parse().unwrap()).await
    }

    pub(crate) async fn open_at(engine: certctl_testkit::Engine, now: Timestamp) -> Self {
        let store = TestStore::open(engine).await;
        let clock = Arc::new(FakeClock::at(now));
        let stop = CancellationToken::new();
        let engine = Self::replica(&store, &clock, "one", &stop);
        seed::seed(&engine).await.unwrap();
        Self { engine, clock, store, stop }
    }

    /// A further replica on the same database.
    pub(crate) fn replica(store: &certctl_store::Store, clock: &Arc<FakeClock>, name: &str, stop: &CancellationToken) -> Arc<Engine> {
        let base = Some(Base::parse("http://pki.example.test").unwrap());
        let publication = Settings { base, crl_shard_size: 3, ..Settings::default() };
        let options = Options { publication, ..Options::named(name) };
        let engine = Engine::new(store.clone(), Arc::clone(clock) as Arc<dyn certctl_engine::clock::Clock>, options);
        tokio::spawn(certctl_engine::jobs::work(Arc::clone(&engine), stop.clone()));
        engine
    }

    /// Ends the worker of the house; further jobs are for those that a test starts itself.
    pub(crate) fn rest(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn second_replica(&self) -> Arc<Engine> {
        Self::replica(&self.store.replica().await, &self.clock, "two", &self.stop)
    }

    pub(crate) fn admin(&self) -> Ctx {
        self.actor("actor-admin")
    }

    pub(crate) fn actor(&self, name: &str) -> Ctx {
        let caller = Caller { actor: ActorId::parse(name).unwrap(), kind: ActorKind::User, grants: Arc::new(Grants::all()), agent: None };
        Ctx::authorize(&self.engine, &caller, Permission::CertIssue, None).unwrap()
    }

    pub(crate) async fn agent(&self, name: &str) -> TestAgent {
        let admin = self.admin();
        let token = agents::mint_token(&admin, Some(name.to_owned()), BTreeMap::new(), time::Duration::hours(1)).await.unwrap();
        let secret = auth::Token::mint(auth::TokenKind::Agent, "x").unwrap();
        let enrollment = Enrollment {
            token: token.value,
            name: None,
            secret_sha256: secret.hash(),
            facts: AgentFacts::default(),
            ip_address: "127.0.0.1".to_owned(),
        };
        let agent = agents::enroll(&self.engine, None, enrollment).await.unwrap();
        let caller = Caller {
            actor: ActorId::parse(agent.id.as_str()).unwrap(),
            kind: ActorKind::Agent,
            grants: Arc::new(Grants::all()),
            agent: Some(agent.id.clone()),
        };
        let ctx = Ctx::authorize(&self.engine, &caller, Permission::AgentJobPoll, None).unwrap();
        TestAgent { id: agent.id, ctx }
    }

    pub(crate) async fn target(&self, name: &str, agent: &TestAgent) -> TargetId {
        let draft = json!({"name": name, "type": "Files", "agent_id": agent.id,
            "config": {"certificate_path": format!("/srv/{name}/cert.pem"), "key_path": format!("/srv/{name}/key.pem")}});
        crud::create::<Target>(&self.admin(), serde_json::from_value(draft).unwrap()).await.unwrap().id
    }

    pub(crate) async fn request(&self, draft: Value) -> Certificate {
        crud::create::<Certificate>(&self.admin(), serde_json::from_value(draft).unwrap()).await.unwrap()
    }

    pub(crate) async fn certificate(&self, id: &CertificateId) -> Certificate {
        crud::load::<Certificate>(&self.admin(), id).await.unwrap()
    }

    pub(crate) async fn versions(&self, id: &CertificateId) -> Vec<Version> {
        certctl_engine::certificates::versions(&self.admin(), id, &ListQuery::default()).await.unwrap().data
    }

    pub(crate) async fn jobs(&self, id: &CertificateId, kind: JobKind) -> Vec<Job> {
        let filters = vec![("certificate_id".to_owned(), id.to_string()), ("type".to_owned(), kind.as_str().to_owned())];
        certctl_engine::jobs::list(&self.admin(), &ListQuery { filters, ..ListQuery::default() }).await.unwrap().data
    }

    pub(crate) async fn job(&self, id: &certctl_domain::ids::JobId) -> Job {
        certctl_engine::jobs::get(&self.admin(), id).await.unwrap()
    }

    /// Waits until a job stands so.
    pub(crate) async fn until(&self, id: &certctl_domain::ids::JobId, status: JobStatus) -> Job {
        certctl_testkit::wait_for(&format!("job {id} to be {status:?}"), Duration::from_secs(20), async || {
            Some(self.job(id).await).filter(|job| job.status == status)
        })
        .await
    }

    /// Writes to the database what no function of the engine would.
    pub(crate) async fn write(&self, statement: Sql) {
        let mut tx = self.store.write(Who::task("test", self.clock.now())).await.unwrap();
        tx.execute(statement).await.unwrap();
        tx.commit_housekeeping("test").await.unwrap();
    }

    /// The number `n` of a statement that gives one row.
    pub(crate) async fn number(&self, statement: &'static str) -> i64 {
        self.store.db().fetch_optional(sql(statement)).await.unwrap().unwrap().int("n").unwrap()
    }

    /// Moves the clock and runs a task as the scheduler would.
    pub(crate) async fn run_task(&self, name: &str) -> u64 {
        let task = scheduler::TASKS.iter().find(|task| task.name == name).unwrap();
        scheduler::once(&Ctx::system(&self.engine, task.name), task).await.unwrap().unwrap()
    }

    /// A certificate on one target that was issued and deployed.
    pub(crate) async fn deployed(&self, name: &str) -> (TestAgent, Certificate) {
        let agent = self.agent(&format!("{name}-host")).await;
        let target = self.target(&format!("{name}-web"), &agent).await;
        let certificate = self.request(json!({"name": name, "sans": [format!("{name}.example.test")], "target_ids": [target]})).await;
        agent.issue(self).await;
        agent.deploy().await;
        let certificate = self.certificate(&certificate.id).await;
        (agent, certificate)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestAgent {
    /// Polls once; what is there comes at once.
    pub(crate) async fn poll(&self) -> Vec<WorkItem> {
        agents::work(&self.ctx, &self.id, Duration::from_secs(20)).await.unwrap()
    }

    pub(crate) async fn next(&self) -> WorkItem {
        let mut items = self.poll().await;
        assert_eq!(items.len(), 1, "{items:?}");
        items.remove(0)
    }

    /// A CSR as the real agent makes it.
    pub(crate) fn csr(item: &WorkItem) -> String {
        let key = PrivateKey::generate(item.key_algorithm).unwrap();
        Csr::build(&key, Some(&item.common_name), &SanSet::parse(&item.sans).unwrap()).unwrap()
    }

    pub(crate) async fn submit(&self, item: &WorkItem, csr: &str) -> certctl_engine::Result<certctl_domain::ids::JobId> {
        agents::submit_csr(
            &self.ctx,
            &self.id,
            Submission { certificate: &item.certificate_id, job: Some(&item.id), fence: Some(item.fence), csr_pem: csr },
        )
        .await
    }

    /// Answers the one job that waits for a CSR, and waits until the version is there.
    pub(crate) async fn issue(&self, house: &House) -> Job {
        let item = self.next().await;
        assert_eq!(item.status, JobStatus::AwaitingCSR, "{item:?}");
        self.submit(&item, &Self::csr(&item)).await.unwrap();
        house.until(&item.id, JobStatus::Completed).await
    }

    /// Does the one deployment that waits, and says that it sees the new certificate.
    pub(crate) async fn deploy(&self) -> Job {
        let item = self.next().await;
        assert_eq!((item.kind, item.status), (JobKind::Deployment, JobStatus::Running), "{item:?}");
        let (version, _) = agents::certificate(&self.ctx, &self.id, &item.certificate_id, item.version_id.as_ref()).await.unwrap();
        let report =
            Report { fence: Some(item.fence), observed_fingerprint: Some(version.fingerprint_sha256.to_string()), ..Report::default() };
        deploy::report(&self.ctx, &self.id, &item.id, Progress::Completed, report).await.unwrap()
    }
}

/// A secret for the eyes of the tests.
pub(crate) fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}
