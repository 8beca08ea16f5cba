//! Certificates: requested, watched until they are served, renewed, deployed, revoked.

mod bulk;
mod export;
mod request;
mod revoke;
pub(crate) mod versions;
mod work;

use clap::{Args, Subcommand};

use super::{AGENT, CERTIFICATE, ID, ISSUER, OWNER, POLICY, PROFILE, TARGET, TEAM};
use crate::app::Waits;
use crate::crud::Crud;
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, flag, status, text, time};
use crate::session::Session;
use crate::{explain, follow};

/// The noun.
#[derive(Debug)]
pub(crate) struct Certs;

/// What can be done with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Request a certificate: the agents beside its targets make the keys, get it issued, and put it in place
    #[command(alias = "create", after_help = request::EXAMPLES)]
    Request(request::Request),
    #[command(flatten)]
    Crud(Crud<Certs>),
    /// Say why a certificate is as it is, and what happens next
    #[command(after_help = "Examples:\n  certctl certs explain web")]
    Explain(One),
    /// Issue a new version now
    #[command(after_help = "Examples:\n  certctl certs renew web --wait\n  certctl certs renew web --wait --timeout 10m")]
    Renew(work::Renew),
    /// Put the version in use on its targets again
    #[command(after_help = "Examples:\n  certctl certs deploy web --wait\n  certctl certs deploy web --target nginx-1")]
    Deploy(work::Deploy),
    /// Wait until the work on a certificate ends, showing each step
    #[command(after_help = "Examples:\n  certctl certs wait web --timeout 10m")]
    Wait(One),
    /// Revoke a certificate, or one version of it
    #[command(after_help = revoke::EXAMPLES)]
    Revoke(revoke::Revoke),
    /// List the issued versions of a certificate
    #[command(after_help = "Examples:\n  certctl certs versions web\n  certctl certs versions web --state current -o json")]
    Versions(versions::Versions),
    /// Print a certificate and its chain in PEM, or write them into a PKCS#12 file
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
    /// Submit a CSR for a certificate whose key no agent holds
    #[command(
        after_help = "Examples:\n  certctl certs csr printer printer.csr --wait\n  openssl req -new -key k.pem -subj /CN=printer.example.test | certctl certs csr printer -"
    )]
    Csr(work::SubmitCsr),
    /// Renew many certificates
    #[command(
        after_help = "Examples:\n  certctl certs bulk-renew --issuer corp-vault --yes\n  certctl certs bulk-renew --cert web --cert api --yes"
    )]
    BulkRenew(bulk::Renew),
    /// Revoke many certificates
    #[command(after_help = "Examples:\n  certctl certs bulk-revoke --agent web-1 --reason key-compromise --yes")]
    BulkRevoke(bulk::Revoke),
}

/// One certificate.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Name or id of the certificate
    name: String,
}

impl Command {
    /// What it waits for.
    pub(crate) const fn waits(&self) -> Waits {
        let for_work = match self {
            Self::BulkRenew(_) | Self::BulkRevoke(_) => return Waits::LongAnswers,
            Self::Request(request) => request.wait,
            Self::Renew(renew) => renew.wait,
            Self::Deploy(deploy) => deploy.wait,
            Self::Csr(csr) => csr.wait,
            Self::Wait(_) => true,
            Self::Crud(_) | Self::Explain(_) | Self::Revoke(_) | Self::Versions(_) | Self::Export(_) => false,
        };
        if for_work { Waits::Work } else { Waits::Answers }
    }

    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Request(request) => request.run(session).await,
            Self::Crud(crud) => crud.run(session).await,
            Self::Explain(one) => explain::show(session, &session.path(CERTIFICATE.path, &[&one.name, "explain"])?).await,
            Self::Renew(renew) => renew.run(session).await,
            Self::Deploy(deploy) => deploy.run(session).await,
            Self::Wait(one) => {
                let id = session.id_of(&CERTIFICATE, &one.name).await?;
                follow::whatever_goes_on(session, &id).await
            }
            Self::Revoke(revoke) => revoke.run(session).await,
            Self::Versions(versions) => versions.run(session).await,
            Self::Export(export) => export.run(session).await,
            Self::Csr(csr) => csr.run(session).await,
            Self::BulkRenew(renew) => renew.run(session).await,
            Self::BulkRevoke(revoke) => revoke.run(session).await,
        }
    }
}

impl Known for Certs {
    const NOUN: &'static Noun = &Noun {
        command: "certs",
        one: "certificate",
        many: "certificates",
        path: CERTIFICATE.path,
        handle: "name",
        columns: &[
            text("NAME", "name"),
            status("STATUS", "status"),
            time("EXPIRES", "expires_at"),
            text("COMMON NAME", "common_name"),
            text("ISSUER", "issuer_id"),
            text("TARGETS", "target_ids").wide(),
            text("ID", "id").wide(),
            text("REASON", "reason").wide(),
            time("NEXT TRY", "next_try_at").wide(),
            text("PROFILE", "certificate_profile_id").wide(),
            text("OWNER", "owner_id").wide(),
            text("TEAM", "team_id").wide(),
            text("ENVIRONMENT", "environment").wide(),
        ],
        details: &[
            text("HINT", "hint"),
            text("SANS", "sans"),
            text("POLICY", "renewal_policy_id"),
            text("KEY", "key_algorithm"),
            text("TAGS", "tags"),
            text("FAILURES", "failures"),
            time("LAST FAILURE", "last_failure_at"),
            time("ISSUED", "last_renewal_at"),
            time("DEPLOYED", "last_deployment_at"),
            time("REVOKED", "revoked_at"),
            text("REVOKED BECAUSE", "revocation_reason"),
            text("SOURCE", "source"),
            time("CREATED", "created_at"),
            time("UPDATED", "updated_at"),
        ],
        filters: &[
            flag("status", "status", Takes::Choice(STATUSES), "Only certificates with this status"),
            flag("expires-within", "expires_before", Takes::FromNow, "Only those that end within this time, such as 30d"),
            flag("san", "san", Takes::Text, "Only those with exactly this name in them"),
            flag("target", "target_id", Takes::One(&TARGET), "Only those on this target"),
            flag("agent", "agent_id", Takes::One(&AGENT), "Only those on a target of this agent"),
            flag("issuer", "issuer_id", Takes::One(&ISSUER), "Only those of this issuer"),
            flag("profile", "profile_id", Takes::One(&PROFILE), "Only those of this profile"),
            flag("policy", "renewal_policy_id", Takes::One(&POLICY), "Only those of this renewal policy"),
            flag("owner", "owner_id", Takes::One(&OWNER), "Only those of this owner"),
            flag("team", "team_id", Takes::One(&TEAM), "Only those of this team"),
            flag("environment", "environment", Takes::Text, "Only those of this environment"),
        ],
        sorts: &["created_at", "updated_at", "name", "common_name", "status", "environment", "expires_at"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("san", "sans", Takes::Sans, "DNS name, IP address, e-mail address or URI to certify; repeat for more"),
            flag(
                "common-name",
                "common_name",
                Takes::Text,
                "Subject common name; default a DNS name of the --san, rather one without a wildcard",
            ),
            flag("target", "target_ids", Takes::Many(&TARGET), "Where to put it; repeat for more"),
            flag("profile", "certificate_profile_id", Takes::One(&PROFILE), "What may be issued; default prof-default"),
            flag("issuer", "issuer_id", Takes::One(&ISSUER), "The CA to ask; default the built-in one"),
            flag("policy", "renewal_policy_id", Takes::One(&POLICY), "When to renew; default rp-default"),
            flag("key-algorithm", "key_algorithm", Takes::Choice(KEYS), "The key that agents make; default ECDSA-P256"),
            flag("owner", "owner_id", Takes::One(&OWNER), "Who answers for it"),
            flag("team", "team_id", Takes::One(&TEAM), "The team that answers for it"),
            flag("tag", "tags", Takes::Labels, "Label; repeat for more"),
            flag("environment", "environment", Takes::Text, "Free text such as production"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Edit, Verb::Delete],
        example: "web",
        create_example: "--name web --san web.example.test --target nginx-1",
        edit_example: "--san web.example.test --san www.example.test --tag tier=edge",
        empty: "request one: certctl certs request --name web --san web.example.test --target nginx-1 --wait",
    };
}

const STATUSES: &[&str] = &["Pending", "Active", "Expiring", "Expired", "RenewalInProgress", "Failed", "Revoked", "Archived"];
const KEYS: &[&str] = &["ECDSA-P256", "ECDSA-P384", "Ed25519", "RSA-2048", "RSA-3072", "RSA-4096"];

#[cfg(test)]
mod tests {
    use certctl_domain::certificate::CertificateStatus;
    use certctl_domain::x509::KeyAlgorithm;

    use super::*;

    #[test]
    fn the_words_are_those_of_the_product() {
        assert_eq!(STATUSES, CertificateStatus::ALL.map(CertificateStatus::as_str));
        assert_eq!(KEYS, KeyAlgorithm::ALL.map(KeyAlgorithm::as_str));
    }
}
