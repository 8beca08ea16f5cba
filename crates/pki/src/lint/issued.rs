//! What came back from a CA against what was asked: refuse, never "store and hope".

use certctl_domain::time::Timestamp;
use certctl_domain::x509::{ExtendedKeyUsage, San, SanSet};
use const_oid::db::rfc5280;
use der::asn1::ObjectIdentifier;
use time::Duration;

use super::{Finding, Findings, Rule};
use crate::certificate::{Certificate, NotSignedBy};
use crate::chain::Chain;
use crate::oids;

/// What was asked of the CA.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The DER `SubjectPublicKeyInfo` of the request.
    pub spki: &'a [u8],
    /// Every name, the common name among them where it is one.
    pub sans: &'a SanSet,
    /// The common name; a CA may leave it out, but not put another in its place.
    pub common_name: Option<&'a str>,
    /// Usages that the certificate must have; it may have more.
    pub usages: &'a [ExtendedKeyUsage],
    /// The latest end of validity that is allowed.
    pub not_after_max: Option<Timestamp>,
    /// The present.
    pub now: Timestamp,
}

/// Checks the chain that a CA returned, leaf first. A root at its end is allowed; trust is not asked here.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_issued(chain: &Chain, expected: &Expected<'_>) -> Result<(), Vec<Finding>> {
    let mut findings = Findings::default();
    findings.key(chain, expected);
    findings.names(chain.leaf(), expected);
    findings.usages(chain.leaf(), expected);
    findings.dates(chain.leaf(), expected);
    findings.links(chain, expected.now);
    findings.critical_extensions(chain);
    findings.into_result()
}

impl Findings {
    fn key(&mut self, chain: &Chain, expected: &Expected<'_>) {
        let leaf = chain.leaf();
        if leaf.spki() != expected.spki {
            if chain.intermediates().iter().any(|other| other.spki() == expected.spki) {
                self.add(Rule::ChainOrder, "the certificate for the requested key is not the first");
            } else {
                self.add(Rule::KeyMismatch, "the certificate is for another key than the request");
            }
        }
        if leaf.is_ca() {
            self.add(Rule::LeafIsCa, format!("`{}` is a CA certificate", leaf.subject()));
        }
    }

    fn names(&mut self, leaf: &Certificate, expected: &Expected<'_>) {
        for name in expected.sans.iter().filter(|name| !leaf.sans().contains(name)) {
            self.add(Rule::MissingName, name.to_string());
        }
        for name in leaf.sans().iter().filter(|name| !expected.sans.contains(name)) {
            self.add(Rule::ExtraName, name.to_string());
        }
        for name in leaf.other_names() {
            self.add(Rule::ExtraName, name.clone());
        }
        if let Some(found) = leaf.common_name()
            && expected.common_name.is_none_or(|wanted| !wanted.eq_ignore_ascii_case(found))
            && !San::parse(found).is_ok_and(|name| expected.sans.contains(&name))
        {
            self.add(Rule::CommonName, format!("`{found}` was not asked for"));
        }
    }

    fn usages(&mut self, leaf: &Certificate, expected: &Expected<'_>) {
        // A certificate without the extension is good for every usage (RFC 5280 section 4.2.1.12).
        if leaf.extension(rfc5280::ID_CE_EXT_KEY_USAGE).is_none() {
            return;
        }
        // One that cannot be read has no usage.
        let found = leaf.extended_key_usages();
        for usage in expected.usages.iter().filter(|usage| !found.contains(usage)) {
            self.add(Rule::MissingUsage, format!("{usage:?}"));
        }
    }

    fn dates(&mut self, leaf: &Certificate, expected: &Expected<'_>) {
        let (from, to) = (leaf.not_before(), leaf.not_after());
        if from >= to {
            self.add(Rule::Validity, format!("it ends at {to}, before it begins at {from}"));
        } else if to <= expected.now {
            self.add(Rule::Expired, format!("it expired at {to}"));
        }
        if from > expected.now.saturating_add(CLOCK_TOLERANCE) {
            self.add(Rule::NotYetValid, format!("it is valid only from {from}"));
        }
        if let Some(limit) = expected.not_after_max.filter(|limit| to > *limit) {
            self.add(Rule::ValidTooLong, format!("it is valid until {to}, later than {limit}"));
        }
    }

    fn links(&mut self, chain: &Chain, now: Timestamp) {
        for (child, parent) in chain.links() {
            match child.verify_signed_by(parent) {
                Ok(()) => self.issuer(parent, now),
                Err(NotSignedBy::Signature(why)) => {
                    self.add(Rule::ChainSignature, format!("`{}` by `{}`: {why}", child.subject(), parent.subject()));
                }
                Err(NotSignedBy::OtherName { wanted, found }) => {
                    let elsewhere = chain.iter().any(|other| other.subject_der() == child.issuer_der());
                    let place = if elsewhere { "which stands elsewhere in the chain" } else { "which is not in the chain" };
                    self.add(
                        Rule::ChainOrder,
                        format!("`{}` is followed by `{found}`, not by its issuer `{wanted}`, {place}", child.subject()),
                    );
                }
            }
        }
    }

    fn issuer(&mut self, issuer: &Certificate, now: Timestamp) {
        if !issuer.is_ca() || !issuer.key_usage_permits(|usage| usage.key_cert_sign()) {
            self.add(Rule::IssuerNotCa, format!("`{}` may not sign certificates", issuer.subject()));
        }
        if issuer.not_after() <= now {
            self.add(Rule::IssuerExpired, format!("`{}` expired at {}", issuer.subject(), issuer.not_after()));
        }
    }

    /// RFC 5280 section 4.2: who does not know a critical extension refuses the certificate. So a precertificate is refused, whose
    /// poison (RFC 6962 section 3.1) is meant for that.
    fn critical_extensions(&mut self, chain: &Chain) {
        for certificate in chain.iter() {
            for extension in certificate.unknown_critical_extensions(&KNOWN) {
                self.add(Rule::UnknownCriticalExtension, format!("{extension} in `{}`", certificate.subject()));
            }
        }
    }
}

/// What RFC 5280 section 4.2 obliges or asks every reader to know, and must-staple (RFC 7633).
const KNOWN: [ObjectIdentifier; 13] = [
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_CERTIFICATE_POLICIES,
    rfc5280::ID_CE_SUBJECT_ALT_NAME,
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_NAME_CONSTRAINTS,
    rfc5280::ID_CE_POLICY_CONSTRAINTS,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_INHIBIT_ANY_POLICY,
    rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
    rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
    rfc5280::ID_CE_POLICY_MAPPINGS,
    rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS,
    oids::TLS_FEATURE,
];

/// How far a CA's clock may run ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::minutes(10);

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    };

    use super::*;
    use crate::lint::rules_of;

    struct Ca {
        params: CertificateParams,
        key: KeyPair,
        certificate: Certificate,
    }

    fn ca(name: &str, above: Option<&Ca>) -> Ca {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
        let key = KeyPair::generate().unwrap();
        let made = match above {
            None => params.self_signed(&key).unwrap(),
            Some(above) => params.signed_by(&key, &Issuer::from_params(&above.params, &above.key)).unwrap(),
        };
        Ca { certificate: Certificate::parse_der(made.der()).unwrap(), params, key }
    }

    fn leaf(ca: &Ca, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new(["web.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 4, 1));
        change(&mut params);
        let made = params.signed_by(key, &Issuer::from_params(&ca.params, &ca.key)).unwrap();
        Certificate::parse_der(made.der()).unwrap()
    }

    struct World {
        root: Ca,
        sub: Ca,
        key: KeyPair,
        spki: Vec<u8>,
        sans: SanSet,
    }

    impl World {
        fn new() -> Self {
            let root = ca("root", None);
            let sub = ca("sub", Some(&root));
            let key = KeyPair::generate().unwrap();
            let spki = leaf(&sub, &key, |_| {}).spki().to_vec();
            Self { root, sub, key, spki, sans: SanSet::parse(["web.test", "10.0.0.1"]).unwrap() }
        }

        fn rules(&self, chain: Vec<Certificate>) -> Vec<Rule> {
            let mut chain = chain.into_iter();
            let chain = Chain::new(chain.next().unwrap(), chain.collect());
            let expected = Expected {
                spki: &self.spki,
                sans: &self.sans,
                common_name: Some("web.test"),
                usages: &[ExtendedKeyUsage::ServerAuth],
                not_after_max: Some("2026-06-01T00:00:00Z".parse().unwrap()),
                now: "2026-02-01T00:00:00Z".parse().unwrap(),
            };
            rules_of(check_issued(&chain, &expected))
        }
    }

    #[test]
    fn accepts_what_was_asked_for_with_and_without_the_root() {
        let w = World::new();
        let good = leaf(&w.sub, &w.key, |p| p.distinguished_name.push(DnType::CommonName, "Web.test"));
        let (sub, root) = (w.sub.certificate.clone(), w.root.certificate.clone());
        for chain in [vec![good.clone()], vec![good.clone(), sub.clone()], vec![good, sub, root]] {
            assert_eq!(w.rules(chain), []);
        }
    }

    #[test]
    fn refuses_a_leaf_that_was_not_asked_for() {
        let w = World::new();
        let of = |change: fn(&mut CertificateParams)| w.rules(vec![leaf(&w.sub, &w.key, change), w.sub.certificate.clone()]);
        let san = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());

        assert_eq!(of(|p| drop(p.subject_alt_names.pop())), [Rule::MissingName]);
        assert_eq!(of(|p| p.subject_alt_names.push(rcgen::SanType::DnsName("www.web.test".try_into().unwrap()))), [Rule::ExtraName]);
        assert_eq!(of(|p| p.subject_alt_names.push(rcgen::SanType::DnsName("a_b.test".try_into().unwrap()))), [Rule::ExtraName]);
        assert_eq!(of(|p| p.distinguished_name.push(DnType::CommonName, "other.test")), [Rule::CommonName]);
        assert_eq!(of(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]), [Rule::MissingUsage]);
        assert_eq!(of(|p| p.not_after = rcgen::date_time_ymd(2026, 1, 31)), [Rule::Expired]);
        assert_eq!(of(|p| p.not_before = rcgen::date_time_ymd(2026, 2, 2)), [Rule::NotYetValid]);
        assert_eq!(of(|p| p.not_before = rcgen::date_time_ymd(2026, 5, 1)), [Rule::Validity, Rule::NotYetValid]);
        assert_eq!(of(|p| p.not_after = rcgen::date_time_ymd(2026, 6, 2)), [Rule::ValidTooLong]);
        assert_eq!(of(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), [Rule::LeafIsCa]);

        let other = KeyPair::generate().unwrap();
        let chain = vec![leaf(&w.sub, &other, |p| p.subject_alt_names.push(san("b.test"))), w.sub.certificate.clone()];
        assert_eq!(w.rules(chain), [Rule::KeyMismatch, Rule::ExtraName]);
    }

    #[test]
    fn refuses_a_chain_that_does_not_hold() {
        let w = World::new();
        let good = leaf(&w.sub, &w.key, |_| {});
        let (sub, root) = (w.sub.certificate.clone(), w.root.certificate.clone());

        assert_eq!(w.rules(vec![good.clone(), root.clone(), sub.clone()]), [Rule::ChainOrder, Rule::ChainOrder]);
        assert_eq!(w.rules(vec![good.clone(), root.clone()]), [Rule::ChainOrder]);
        assert!(w.rules(vec![sub.clone(), good.clone()]).contains(&Rule::ChainOrder));

        // The same name, another key.
        let impostor = ca("sub", None);
        assert_eq!(w.rules(vec![good, impostor.certificate]), [Rule::ChainSignature]);

        // An issuer that is no CA.
        let mut params = w.sub.params.clone();
        params.is_ca = IsCa::ExplicitNoCa;
        let made = params.signed_by(&w.sub.key, &Issuer::from_params(&w.root.params, &w.root.key)).unwrap();
        let no_ca = Certificate::parse_der(made.der()).unwrap();
        assert_eq!(w.rules(vec![leaf(&w.sub, &w.key, |_| {}), no_ca, root.clone()]), [Rule::IssuerNotCa]);

        // An issuer that is expired.
        let mut params = w.sub.params.clone();
        params.not_after = rcgen::date_time_ymd(2026, 1, 15);
        let made = params.signed_by(&w.sub.key, &Issuer::from_params(&w.root.params, &w.root.key)).unwrap();
        let expired = Certificate::parse_der(made.der()).unwrap();
        assert_eq!(w.rules(vec![leaf(&w.sub, &w.key, |_| {}), expired, root]), [Rule::IssuerExpired]);
    }

    /// The CA's certificate again, with a change.
    fn again(above: &Ca, ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = ca.params.clone();
        change(&mut params);
        let made = params.signed_by(&ca.key, &Issuer::from_params(&above.params, &above.key)).unwrap();
        Certificate::parse_der(made.der()).unwrap()
    }

    fn extension(oid: &[u64], value: &[u8], critical: bool) -> CustomExtension {
        let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
        extension.set_criticality(critical);
        extension
    }

    #[test]
    fn refuses_unknown_critical_extensions_anywhere_in_the_chain() {
        let w = World::new();
        let (sub, root) = (w.sub.certificate.clone(), w.root.certificate.clone());
        // The poison of a precertificate, and what only its owner knows.
        let poison = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 3];
        let own = &[1, 3, 6, 1, 4, 1, 99999, 1];
        let with = |oid: &[u64], critical| leaf(&w.sub, &w.key, |p| p.custom_extensions.push(extension(oid, &[5, 0], critical)));
        assert_eq!(w.rules(vec![with(poison, true), sub.clone()]), [Rule::UnknownCriticalExtension]);
        assert_eq!(w.rules(vec![with(own, true), sub.clone()]), [Rule::UnknownCriticalExtension]);
        assert_eq!(w.rules(vec![with(own, false), sub.clone()]), []);
        // An identifier made of a UUID (2.25), too long for the type that holds the others.
        let uuid = &[2, 25, u64::MAX];
        assert_eq!(w.rules(vec![with(uuid, true), sub.clone()]), [Rule::UnknownCriticalExtension]);
        assert_eq!(w.rules(vec![with(uuid, false), sub.clone()]), []);

        let good = leaf(&w.sub, &w.key, |_| {});
        let strange = again(&w.root, &w.sub, |p| p.custom_extensions.push(extension(own, &[5, 0], true)));
        assert_eq!(w.rules(vec![good.clone(), strange]), [Rule::UnknownCriticalExtension]);
        let strange = again(&w.root, &w.root, |p| p.custom_extensions.push(extension(own, &[5, 0], true)));
        assert_eq!(w.rules(vec![good.clone(), sub, strange]), [Rule::UnknownCriticalExtension]);

        // Policy constraints are critical, and every reader knows them (RFC 5280 section 4.2.1.11).
        let constrained = again(&w.root, &w.sub, |p| p.custom_extensions.push(extension(&[2, 5, 29, 36], &[0x30, 3, 0x80, 1, 0], true)));
        assert_eq!(w.rules(vec![good, constrained, root]), []);
    }

    #[test]
    fn a_usage_that_cannot_be_read_is_not_one_that_is_absent() {
        let w = World::new();
        let good = leaf(&w.sub, &w.key, |_| {});
        let without = again(&w.root, &w.sub, |p| p.key_usages.clear());
        assert_eq!(w.rules(vec![good.clone(), without]), []);
        let unreadable = again(&w.root, &w.sub, |p| {
            p.key_usages.clear();
            p.custom_extensions.push(extension(&[2, 5, 29, 15], &[5, 0], true));
        });
        assert_eq!(w.rules(vec![good, unreadable]), [Rule::IssuerNotCa]);
        let unreadable = leaf(&w.sub, &w.key, |p| {
            p.extended_key_usages.clear();
            p.custom_extensions.push(extension(&[2, 5, 29, 37], &[5, 0], false));
        });
        assert_eq!(w.rules(vec![unreadable, w.sub.certificate.clone()]), [Rule::MissingUsage]);
    }
}
