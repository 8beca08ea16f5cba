//! CAs below another CA.

use certctl_domain::x509::Serial;

use super::error::IssueError;
use super::parts::ca_extensions;
use super::publication::{PolicyOid, Publication, add_policies};
use super::validity::Validity;
use crate::constraints::NameConstraints;
use crate::dn::Subject;
use crate::public_key::PublicKey;
use crate::tbs::Extensions;

/// A CA that is to be, below another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubCaSpec {
    /// Needs a common name.
    pub subject: Subject,
    /// The new CA's key.
    pub key: PublicKey,
    /// Is cut to the validity of the CA above.
    pub validity: Validity,
    /// From [`super::random_serial`].
    pub serial: Serial,
    /// How many CAs may stand below; 0 for one that signs leaves only. Must be less than what the CA above may have.
    pub path_len: u8,
    /// What names it may issue for; what the CAs above may not, it may not either.
    pub name_constraints: Option<NameConstraints>,
    /// Where the CA above publishes.
    pub publication: Publication,
    /// Policies, usually none.
    pub policies: Vec<PolicyOid>,
}

impl SubCaSpec {
    /// Everything but the authority key identifier.
    pub(super) fn extensions(&self) -> Result<Extensions, IssueError> {
        let mut extensions = ca_extensions(&self.key, Some(self.path_len))?;
        if let Some(constraints) = &self.name_constraints {
            extensions.critical(&constraints.encode()?)?;
        }
        add_policies(&self.policies, &mut extensions)?;
        self.publication.add_to(&mut extensions)?;
        Ok(extensions)
    }
}
