//! Typed identifiers: a prefix that says the kind, then what the caller chose or a UUIDv7, so that generated ids sort by time.

use std::fmt;

use serde::{Deserialize, Serialize, de};

use crate::time::Timestamp;

/// What every identifier can do.
pub trait Id: Clone + Ord + fmt::Display + Send + Sync + Sized + 'static {
    /// The prefix with its hyphen, such as `mc-`.
    const PREFIX: &'static str;

    /// Parses an identifier: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
    ///
    /// # Errors
    /// When the text has another form.
    fn parse(text: &str) -> Result<Self, InvalidId>;

    /// A new identifier from the instant and ten random bytes (UUIDv7, RFC 9562 section 5.7).
    fn generate(at: Timestamp, random: [u8; 10]) -> Self;

    /// The identifier as text.
    fn as_str(&self) -> &str;
}

/// The text cannot be an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an identifier: 1 to 128 characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit")]
pub struct InvalidId {
    text: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;

            fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(Self)
            }

            fn generate(at: Timestamp, random: [u8; 10]) -> Self {
                Self(generate($prefix, at, random))
            }

            fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                check(&text).map(Self).map_err(de::Error::custom)
            }
        }

        crate::schema::string_schema!($name, stringify!($name), "id", concat!("identifier; generated ones begin with `", $prefix, "`"));
    )* };
}

ids! {
    /// A managed certificate.
    CertificateId = "mc-";
    /// One issued version of a managed certificate.
    VersionId = "ver-";
    /// A job.
    JobId = "job-";
    /// An agent.
    AgentId = "ag-";
    /// A one-time enrolment token.
    EnrollmentTokenId = "et-";
    /// An issuer.
    IssuerId = "iss-";
    /// A CA certificate with its key, held by this installation.
    AuthorityId = "ca-";
    /// A deployment target.
    TargetId = "tgt-";
    /// A certificate profile.
    ProfileId = "prof-";
    /// A renewal policy.
    RenewalPolicyId = "rp-";
    /// A policy rule.
    PolicyId = "pr-";
    /// A policy violation.
    ViolationId = "viol-";
    /// An owner.
    OwnerId = "o-";
    /// A team.
    TeamId = "t-";
    /// A role.
    RoleId = "r-";
    /// Somebody or something that acts.
    ActorId = "actor-";
    /// An API key.
    ApiKeyId = "ak-";
    /// An audit event.
    AuditId = "audit-";
    /// A revocation.
    RevocationId = "rev-";
    /// A notification in the outbox.
    NotificationId = "notif-";
    /// A secret at rest.
    SecretId = "sec-";
}

fn check(text: &str) -> Result<String, InvalidId> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.len() <= 128 && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(InvalidId { text: text.chars().take(64).filter(char::is_ascii_graphic).collect() })
    }
}

fn generate(prefix: &str, at: Timestamp, random: [u8; 10]) -> String {
    let millis = u64::try_from(at.unix_micros() / 1_000).unwrap_or(0);
    format!("{prefix}{}", uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_sort_by_time() {
        let at = |seconds| Timestamp::from_unix_seconds(seconds).unwrap();
        let early = JobId::generate(at(1_000), [255; 10]);
        let late = JobId::generate(at(2_000), [0; 10]);
        assert!(early < late && early.as_str().starts_with("job-"));
    }

    #[test]
    fn ids_cannot_carry_paths_or_markup() {
        for text in ["", "../etc", "a/b", "-x", ".x", "a b", "<b>", &"a".repeat(129)] {
            assert!(CertificateId::parse(text).is_err(), "{text}");
        }
        assert!(RoleId::parse("r-prometheus-scrape").is_ok());
    }
}
