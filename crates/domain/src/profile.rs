//! A profile: what may be issued. The only place that turns a request into an [`ApprovedRequest`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::ProfileId;
use crate::noun::{Check, Noun, Refusal};
use crate::time::Timestamp;
use crate::x509::{DnsName, ExtendedKeyUsage, KeyAlgorithm, San, SanSet};

/// What may be issued under this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Identifier.
    pub id: ProfileId,
    /// Unique name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Keys that a CSR may have; empty allows every algorithm that certctl knows.
    pub allowed_key_algorithms: Vec<KeyAlgorithmRule>,
    /// The longest life of a certificate in seconds; 0 leaves it to the issuer.
    pub max_ttl_seconds: i64,
    /// Extended key usages of the certificate.
    pub allowed_ekus: Vec<ExtendedKeyUsage>,
    /// Each name must match one of these: a DNS name, or `*.example.test` for every name below; empty allows all.
    pub required_san_patterns: Vec<String>,
    /// A `spiffe://` URI pattern, `*` matching one path segment; then exactly one URI SAN must match it.
    pub spiffe_uri_pattern: Option<String>,
    /// Whether certificates may live less than an hour.
    pub allow_short_lived: bool,
    /// Whether the certificate asks TLS servers to staple (RFC 7633).
    pub must_staple: bool,
    /// Whether somebody other than the requester must approve each issuance.
    pub requires_approval: bool,
    /// Whether it may be used.
    pub enabled: bool,
    /// Counts changes.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A key family with its least size in bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyAlgorithmRule {
    /// `RSA`, `ECDSA` or `Ed25519`.
    pub algorithm: KeyFamily,
    /// Least size in bits; 0 allows every size that certctl knows.
    #[serde(default)]
    pub min_size: u32,
}

/// A family of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum KeyFamily {
    /// RSA.
    RSA,
    /// ECDSA on a NIST curve.
    ECDSA,
    /// Ed25519.
    Ed25519,
}

/// What a caller gives for a profile.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileDraft {
    /// Identifier, if the caller chooses it.
    pub id: Option<ProfileId>,
    /// Unique name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// See [`Profile::allowed_key_algorithms`].
    #[serde(default)]
    pub allowed_key_algorithms: Vec<KeyAlgorithmRule>,
    /// See [`Profile::max_ttl_seconds`].
    #[serde(default)]
    pub max_ttl_seconds: i64,
    /// See [`Profile::allowed_ekus`]; default `serverAuth`.
    #[serde(default = "server_auth")]
    pub allowed_ekus: Vec<ExtendedKeyUsage>,
    /// See [`Profile::required_san_patterns`].
    #[serde(default)]
    pub required_san_patterns: Vec<String>,
    /// See [`Profile::spiffe_uri_pattern`].
    pub spiffe_uri_pattern: Option<String>,
    /// See [`Profile::allow_short_lived`].
    #[serde(default)]
    pub allow_short_lived: bool,
    /// See [`Profile::must_staple`].
    #[serde(default)]
    pub must_staple: bool,
    /// See [`Profile::requires_approval`].
    #[serde(default)]
    pub requires_approval: bool,
    /// Whether it may be used; default true.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A request that profile and CSR agree on. Nothing is issued without one, and only [`Profile::approve`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedRequest {
    common_name: Option<String>,
    sans: SanSet,
    key_algorithm: KeyAlgorithm,
    ekus: Vec<ExtendedKeyUsage>,
    max_ttl: Option<time::Duration>,
    must_staple: bool,
}

impl ApprovedRequest {
    /// The subject's common name.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
    /// Every name of the certificate.
    #[must_use]
    pub const fn sans(&self) -> &SanSet {
        &self.sans
    }
    /// The key's algorithm as seen in the CSR.
    #[must_use]
    pub const fn key_algorithm(&self) -> KeyAlgorithm {
        self.key_algorithm
    }
    /// Extended key usages.
    #[must_use]
    pub fn ekus(&self) -> &[ExtendedKeyUsage] {
        &self.ekus
    }
    /// The longest life allowed; `None` leaves it to the issuer.
    #[must_use]
    pub const fn max_ttl(&self) -> Option<time::Duration> {
        self.max_ttl
    }
    /// Whether the TLS feature extension is asked for.
    #[must_use]
    pub const fn must_staple(&self) -> bool {
        self.must_staple
    }
}

/// What the certificate's record wants, beside what the CSR says. Names come from the record, the key from the CSR.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Common name in the record.
    pub common_name: &'a str,
    /// Names in the record.
    pub sans: &'a SanSet,
    /// Algorithm that the record asks for, if it does.
    pub wanted_key: Option<KeyAlgorithm>,
    /// Common name in the CSR.
    pub csr_common_name: Option<&'a str>,
    /// Names in the CSR.
    pub csr_sans: &'a SanSet,
    /// The CSR's key.
    pub csr_key: KeyAlgorithm,
}

impl Profile {
    /// Holds record and CSR against the profile.
    ///
    /// # Errors
    /// Everything that the profile does not allow, all at once.
    pub fn approve(&self, facts: &RequestFacts<'_>) -> Result<ApprovedRequest, Refusal> {
        let mut check = Check::default();
        check.that(self.enabled, "certificate_profile_id", format_args!("profile {} is disabled", self.id));
        let names = all_names(facts.common_name, facts.sans);
        let names = check.ok("sans", names).unwrap_or_default();
        check.that(!names.is_empty(), "sans", "a certificate needs at least one name");
        if let Some(cn) = facts.csr_common_name {
            let same = cn.eq_ignore_ascii_case(facts.common_name);
            check.that(same, "csr_pem", format_args!("the CSR's common name `{cn}` is not the certificate's `{}`", facts.common_name));
        }
        for extra in facts.csr_sans.iter().filter(|san| !names.contains(san)) {
            check.that(false, "csr_pem", format_args!("the CSR asks for `{extra}`, which the certificate's record does not have"));
        }
        if !facts.csr_sans.is_empty() {
            for missing in names.iter().filter(|san| !facts.csr_sans.contains(san)) {
                check.that(false, "csr_pem", format_args!("the CSR does not ask for `{missing}`, which the certificate's record has"));
            }
        }
        if let Some(wanted) = facts.wanted_key {
            check.that(
                wanted == facts.csr_key,
                "csr_pem",
                format_args!("the CSR's key is {}, the certificate asks for {wanted}", facts.csr_key),
            );
        }
        check.that(
            self.allows_key(facts.csr_key),
            "csr_pem",
            format_args!("profile {} does not allow keys of type {}", self.id, facts.csr_key),
        );
        self.check_names(&names, &mut check);
        let common_name = Some(facts.common_name).filter(|cn| !cn.is_empty() && cn.chars().count() <= 64).map(str::to_owned);
        check.finish(|| ApprovedRequest {
            common_name,
            sans: names,
            key_algorithm: facts.csr_key,
            ekus: self.allowed_ekus.clone(),
            max_ttl: (self.max_ttl_seconds > 0).then(|| time::Duration::seconds(self.max_ttl_seconds)),
            must_staple: self.must_staple,
        })
    }

    /// Whether a key of this algorithm may be certified.
    #[must_use]
    pub fn allows_key(&self, key: KeyAlgorithm) -> bool {
        let family = |rule: &KeyAlgorithmRule| match rule.algorithm {
            KeyFamily::RSA => "RSA",
            KeyFamily::ECDSA => "ECDSA",
            KeyFamily::Ed25519 => "Ed25519",
        };
        self.allowed_key_algorithms.is_empty()
            || self.allowed_key_algorithms.iter().any(|rule| family(rule) == key.family() && key.bits() >= rule.min_size)
    }

    /// Holds names against the patterns of the profile.
    pub fn check_names(&self, names: &SanSet, check: &mut Check) {
        for san in names {
            let fits = match san {
                San::Dns(name) => {
                    self.required_san_patterns.is_empty() || self.required_san_patterns.iter().any(|pattern| dns_fits(pattern, name))
                }
                San::Uri(uri) => match &self.spiffe_uri_pattern {
                    Some(pattern) => uri_fits(pattern, uri.as_str()),
                    None => {
                        self.required_san_patterns.is_empty() || self.required_san_patterns.iter().any(|pattern| pattern == uri.as_str())
                    }
                },
                San::Ip(_) | San::Email(_) => {
                    self.required_san_patterns.is_empty() || self.required_san_patterns.iter().any(|pattern| *pattern == san.to_string())
                }
            };
            check.that(fits, "sans", format_args!("`{san}` matches no name pattern of profile {}", self.id));
        }
        if let Some(pattern) = &self.spiffe_uri_pattern {
            let uris = names.iter().filter(|san| matches!(san, San::Uri(_))).count();
            check.that(uris == 1, "sans", format_args!("profile {} wants exactly one URI name of the form {pattern}", self.id));
        }
    }
}

/// The record's names with its common name among them, if that is a DNS name, an address or an e-mail address (CA/B BR 7.1.4.2.2).
///
/// # Errors
/// When there are too many.
pub fn all_names(common_name: &str, sans: &SanSet) -> Result<SanSet, crate::x509::InvalidName> {
    let cn = San::parse(common_name).ok();
    SanSet::new(sans.iter().cloned().chain(cn))
}

impl Noun for Profile {
    type Id = ProfileId;
    type Draft = ProfileDraft;
    const KIND: &'static str = "profile";
    const PLURAL: &'static str = "profiles";

    fn id(&self) -> &ProfileId {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn revision(&self) -> i64 {
        self.revision
    }
    fn chosen_id(draft: &ProfileDraft) -> Option<&ProfileId> {
        draft.id.as_ref()
    }
    fn create(id: ProfileId, draft: ProfileDraft, now: Timestamp) -> Result<Self, Refusal> {
        let mut check = Check::default();
        check.name("name", &draft.name).text("description", &draft.description);
        for rule in &draft.allowed_key_algorithms {
            let fine = match rule.algorithm {
                KeyFamily::RSA => matches!(rule.min_size, 0 | 2048 | 3072 | 4096),
                KeyFamily::ECDSA => matches!(rule.min_size, 0 | 256 | 384),
                KeyFamily::Ed25519 => matches!(rule.min_size, 0 | 256),
            };
            check.that(fine, "allowed_key_algorithms", "min_size is 2048, 3072 or 4096 for RSA, 256 or 384 for ECDSA, 256 for Ed25519");
        }
        check.that((0..=3_153_600_000).contains(&draft.max_ttl_seconds), "max_ttl_seconds", "is 0 or a number of seconds up to 100 years");
        let short = draft.max_ttl_seconds > 0 && draft.max_ttl_seconds < 3_600;
        check.that(!short || draft.allow_short_lived, "max_ttl_seconds", "is below an hour; set allow_short_lived to permit that");
        check.that(!draft.allow_short_lived || short, "allow_short_lived", "needs a max_ttl_seconds between 1 and 3599");
        check.that(!draft.allowed_ekus.is_empty(), "allowed_ekus", "must name at least one usage");
        check.that(draft.required_san_patterns.len() <= 100, "required_san_patterns", "must have at most 100 entries");
        for pattern in &draft.required_san_patterns {
            check.ok("required_san_patterns", San::parse(pattern));
        }
        if let Some(pattern) = &draft.spiffe_uri_pattern {
            check.that(pattern.starts_with("spiffe://") && pattern.len() <= 2_048, "spiffe_uri_pattern", "must begin with spiffe://");
        }
        let mut ekus = draft.allowed_ekus;
        ekus.sort();
        ekus.dedup();
        check.finish(|| Self {
            id,
            name: draft.name,
            description: draft.description,
            allowed_key_algorithms: draft.allowed_key_algorithms,
            max_ttl_seconds: draft.max_ttl_seconds,
            allowed_ekus: ekus,
            required_san_patterns: draft.required_san_patterns,
            spiffe_uri_pattern: draft.spiffe_uri_pattern,
            allow_short_lived: draft.allow_short_lived,
            must_staple: draft.must_staple,
            requires_approval: draft.requires_approval,
            enabled: draft.enabled,
            revision: 1,
            created_at: now,
            updated_at: now,
        })
    }
    fn replace(&self, draft: ProfileDraft, now: Timestamp) -> Result<Self, Refusal> {
        let new = Self::create(self.id.clone(), draft, now)?;
        Ok(Self { revision: self.revision + 1, created_at: self.created_at, ..new })
    }
    fn draft(&self) -> ProfileDraft {
        let this = self.clone();
        ProfileDraft {
            id: Some(this.id),
            name: this.name,
            description: this.description,
            allowed_key_algorithms: this.allowed_key_algorithms,
            max_ttl_seconds: this.max_ttl_seconds,
            allowed_ekus: this.allowed_ekus,
            required_san_patterns: this.required_san_patterns,
            spiffe_uri_pattern: this.spiffe_uri_pattern,
            allow_short_lived: this.allow_short_lived,
            must_staple: this.must_staple,
            requires_approval: this.requires_approval,
            enabled: this.enabled,
        }
    }
}

fn dns_fits(pattern: &str, name: &DnsName) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => name.is_within(domain) && name.as_str() != domain,
        None => name.as_str() == pattern,
    }
}

/// `*` stands for a segment that every reader takes for one: none that leads elsewhere, ends the path, or is written in another way.
fn uri_fits(pattern: &str, uri: &str) -> bool {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['?', '#', '%']);
    let mut wanted = pattern.split('/');
    let mut have = uri.split('/');
    loop {
        match (wanted.next(), have.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if plain(segment) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

fn server_auth() -> Vec<ExtendedKeyUsage> {
    vec![ExtendedKeyUsage::ServerAuth]
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
#[expect(clippy::too_many_arguments, reason = "the table's columns")]
mod tests {
    use super::*;

    fn profile(json: serde_json::Value) -> Result<Profile, Refusal> {
        let draft = serde_json::from_value(json).unwrap();
        Profile::create(ProfileId::parse("prof-x").unwrap(), draft, Timestamp::UNIX_EPOCH)
    }
    use crate::ids::Id as _;

    fn approve(
        profile: &Profile,
        cn: &str,
        sans: &[&str],
        csr_cn: Option<&str>,
        csr_sans: &[&str],
        key: KeyAlgorithm,
    ) -> Result<ApprovedRequest, Refusal> {
        profile.approve(&RequestFacts {
            common_name: cn,
            sans: &SanSet::parse(sans).unwrap(),
            wanted_key: None,
            csr_common_name: csr_cn,
            csr_sans: &SanSet::parse(csr_sans).unwrap(),
            csr_key: key,
        })
    }

    #[test]
    fn names_come_from_the_record_and_a_csr_may_not_differ() {
        let any = profile(serde_json::json!({"name": "any"})).unwrap();
        let fine =
            approve(&any, "web.test", &["www.web.test"], Some("web.test"), &["web.test", "www.web.test"], KeyAlgorithm::EcdsaP256).unwrap();
        assert_eq!(fine.sans().len(), 2);
        assert!(approve(&any, "web.test", &[], None, &[], KeyAlgorithm::Ed25519).is_ok(), "a CSR may leave all names to the record");
        for (cn, sans) in [(Some("evil.test"), vec!["web.test"]), (None, vec!["web.test", "evil.test"]), (None, vec!["other.test"])] {
            let refusal = approve(&any, "web.test", &[], cn, &sans, KeyAlgorithm::EcdsaP256).unwrap_err();
            assert!(refusal.fields.iter().all(|f| f.field == "csr_pem"), "{refusal}");
        }
    }

    #[test]
    fn keys_and_patterns_are_held() {
        let strict = profile(serde_json::json!({"name": "s", "allowed_key_algorithms": [{"algorithm": "ECDSA", "min_size": 384}, {"algorithm": "RSA", "min_size": 3072}],
            "required_san_patterns": ["*.corp.test", "corp.test"]})).unwrap();
        for (key, fine) in [
            (KeyAlgorithm::EcdsaP256, false),
            (KeyAlgorithm::EcdsaP384, true),
            (KeyAlgorithm::Rsa2048, false),
            (KeyAlgorithm::Rsa4096, true),
            (KeyAlgorithm::Ed25519, false),
        ] {
            assert_eq!(approve(&strict, "a.corp.test", &[], None, &[], key).is_ok(), fine, "{key}");
        }
        for (name, fine) in
            [("a.corp.test", true), ("a.b.corp.test", true), ("corp.test", true), ("evilcorp.test", false), ("corp.test.evil.test", false)]
        {
            assert_eq!(approve(&strict, name, &[], None, &[], KeyAlgorithm::EcdsaP384).is_ok(), fine, "{name}");
        }
    }

    #[test]
    fn a_spiffe_profile_wants_one_matching_uri() {
        let mesh = profile(serde_json::json!({"name": "m", "spiffe_uri_pattern": "spiffe://td.test/ns/*/sa/*"})).unwrap();
        for (uri, fine) in [
            ("spiffe://td.test/ns/a/sa/b", true),
            ("spiffe://td.test/ns/a/sa/b/c", false),
            ("spiffe://other/ns/a/sa/b", false),
            ("spiffe://td.test/ns//sa/b", false),
            ("spiffe://td.test/ns/./sa/b", false),
            ("spiffe://td.test/ns/../sa/b", false),
            ("spiffe://td.test/ns/a/sa/..", false),
            ("spiffe://td.test/ns/a/sa/b?x", false),
            ("spiffe://td.test/ns/a/sa/b#x", false),
            ("spiffe://td.test/ns/a/sa/%2e%2e", false),
            ("spiffe://td.test/ns/a/sa/..b", true),
        ] {
            assert_eq!(approve(&mesh, "svc.test", &[uri], None, &[], KeyAlgorithm::EcdsaP256).is_ok(), fine, "{uri}");
        }
        assert!(approve(&mesh, "svc.test", &[], None, &[], KeyAlgorithm::EcdsaP256).is_err());
    }

    #[test]
    fn drafts_say_everything_that_is_wrong() {
        let refusal = profile(serde_json::json!({"name": " ", "max_ttl_seconds": 60, "allowed_ekus": [], "allowed_key_algorithms": [{"algorithm": "RSA", "min_size": 1024}]})).unwrap_err();
        let fields: Vec<_> = refusal.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, ["name", "allowed_key_algorithms", "max_ttl_seconds", "allowed_ekus"]);
    }
}
