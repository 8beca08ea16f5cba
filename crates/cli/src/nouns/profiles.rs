//! Profiles: what may be issued.

use super::ID;
use crate::noun::{Known, Noun, Takes, Verb, each, flag, text, time};

/// The noun.
#[derive(Debug)]
pub(crate) struct Profiles;

impl Known for Profiles {
    const NOUN: &'static Noun = &Noun {
        command: "profiles",
        one: "profile",
        many: "profiles",
        path: "/api/v1/profiles",
        handle: "name",
        columns: &[
            text("NAME", "name"),
            text("ENABLED", "enabled"),
            each("KEYS", "allowed_key_algorithms", "algorithm"),
            text("USAGES", "allowed_ekus"),
            text("LONGEST LIFE (S)", "max_ttl_seconds"),
            text("APPROVAL", "requires_approval"),
            text("ID", "id"),
            text("NAMES", "required_san_patterns").wide(),
            time("CREATED", "created_at").wide(),
        ],
        details: &[
            text("DESCRIPTION", "description"),
            text("SPIFFE PATTERN", "spiffe_uri_pattern"),
            text("KEY RULES", "allowed_key_algorithms"),
            text("SHORT-LIVED", "allow_short_lived"),
            text("MUST STAPLE", "must_staple"),
            time("UPDATED", "updated_at"),
        ],
        filters: &[
            flag("enabled", "enabled", Takes::Bool, "Only those that may be used, or with `false` the others"),
            flag("requires-approval", "requires_approval", Takes::Bool, "Only those that ask for approval, or with `false` the others"),
        ],
        sorts: &["name", "id"],
        fields: &[
            flag("name", "name", Takes::Text, "Unique name").required(),
            flag("description", "description", Takes::Text, "For people"),
            flag(
                "key",
                "allowed_key_algorithms",
                Takes::KeyRules,
                "Key that a request may have: RSA, ECDSA or Ed25519, with the least size as in RSA:3072; repeat for more",
            ),
            flag("max-ttl", "max_ttl_seconds", Takes::Seconds, "The longest life of a certificate, such as 90d"),
            flag("usage", "allowed_ekus", Takes::Choices(USAGES), "Extended key usage; repeat for more"),
            flag(
                "san-pattern",
                "required_san_patterns",
                Takes::Texts,
                "Name that is allowed, or *.example.test for all below; repeat for more",
            ),
            flag("spiffe-pattern", "spiffe_uri_pattern", Takes::Text, "Form of the one SPIFFE URI, * for one path segment"),
            flag("allow-short-lived", "allow_short_lived", Takes::Bool, "Whether certificates may live less than an hour"),
            flag("must-staple", "must_staple", Takes::Bool, "Whether the certificate asks TLS servers to staple (RFC 7633)"),
            flag("requires-approval", "requires_approval", Takes::Bool, "Whether somebody other than the requester must approve"),
            flag("enabled", "enabled", Takes::Bool, "Whether it may be used; default true"),
            ID,
        ],
        verbs: &[Verb::List, Verb::Get, Verb::Create, Verb::Edit, Verb::Delete],
        example: "internal-web",
        create_example: "--name internal-web --key ECDSA --key RSA:3072 --max-ttl 30d --san-pattern '*.example.test'",
        edit_example: "--max-ttl 7d",
        empty: "make one: certctl profiles create --name internal-web --max-ttl 30d",
    };
}

const USAGES: &[&str] = &["serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping"];
