//! Requests as the agent makes them: subject with at most a common name, typed names, signed by the new key.

use certctl_domain::x509::SanSet;
use const_oid::db::{rfc5280, rfc5912};
use der::asn1::{Any, OctetString, SetOfVec};
use der::{Encode as _, Sequence};
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::ext::Extension;

use super::{CsrError, LABEL};
use crate::dn::{InvalidSubject, Subject};
use crate::key::PrivateKey;
use crate::signed::Signed;
use crate::{names, pem};

pub(super) fn build(key: &PrivateKey, common_name: Option<&str>, sans: &SanSet) -> Result<String, CsrError> {
    let subject = match common_name {
        None => Subject::default(),
        Some(name) => Subject::with_common_name(name).map_err(|error| match error {
            InvalidSubject::CommonName(why) => CsrError::CommonName(why),
            InvalidSubject::Attribute { .. } => CsrError::CommonNameEncoding,
        })?,
    };
    if subject.is_empty() && sans.is_empty() {
        return Err(CsrError::NoNames);
    }
    let info = RequestInfo {
        version: 0,
        subject: subject.to_any()?,
        public_key: <Any as der::Decode>::from_der(key.spki())?,
        attributes: attributes(&subject, sans)?,
    }
    .to_der()?;
    let signature = key.sign(&info).map_err(|error| CsrError::Sign(Box::new(error)))?;
    let request = Signed::assemble(&info, key.signature_algorithm(), &signature)?;
    Ok(pem::encode(LABEL, &request))
}

fn attributes(subject: &Subject, sans: &SanSet) -> Result<Attributes, CsrError> {
    let mut attributes = Attributes::default();
    if !sans.is_empty() {
        // RFC 5280 section 4.2.1.6: critical where the subject is empty.
        let san = Extension {
            extn_id: rfc5280::ID_CE_SUBJECT_ALT_NAME,
            critical: subject.is_empty(),
            extn_value: OctetString::new(names::encode_all(sans)?)?,
        };
        let mut values = SetOfVec::new();
        values.insert(Any::encode_from(&vec![san])?)?;
        attributes.insert(Attribute { oid: rfc5912::ID_EXTENSION_REQ, values })?;
    }
    Ok(attributes)
}

/// RFC 2986 section 4.1.
#[derive(Sequence)]
struct RequestInfo {
    version: u8,
    subject: Any,
    public_key: Any,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: Attributes,
}
