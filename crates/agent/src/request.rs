//! A signing request: the key first, on disk; then the request, signed with it; then the letter.

use certctl_connector_core::ConnectorError;
use certctl_domain::job::WorkItem;
use certctl_domain::x509::SanSet;
use certctl_pki::csr::Csr;

use crate::agent::Agent;
use crate::clock;
use crate::outbox::Letter;

/// Makes or finds the job's key, and writes the letter with the request. What was asked for again is answered alike.
pub(crate) async fn request(agent: &Agent, item: &WorkItem) -> Result<Letter, ConnectorError> {
    let names = |e| ConnectorError::permanent("the names that the server asks for cannot be put into a request").caused_by(e);
    let sans = SanSet::parse(&item.sans).map_err(names)?;
    let keys = std::sync::Arc::clone(&agent.keys);
    let (certificate, job, algorithm) = (item.certificate_id.clone(), item.id.clone(), item.key_algorithm);
    // Making an RSA key takes seconds, and the disk may be slow: not on the threads that keep the heartbeat.
    let making = tokio::task::spawn_blocking(move || keys.make_or_reuse(&certificate, &job, algorithm));
    let key = making.await.map_err(|e| ConnectorError::transient("the making of the key was broken off").caused_by(e))??;
    let common_name = Some(item.common_name.as_str()).filter(|name| !name.is_empty());
    let csr = Csr::build(&key, common_name, &sans)
        .map_err(|e| ConnectorError::permanent("no request can be made for these names").hint(e.hint()).caused_by(e))?;
    Ok(Letter::request(item, csr, clock::now()))
}
