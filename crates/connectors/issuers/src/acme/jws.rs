//! Signed requests (RFC 8555 section 6.2, RFC 7515): the account's key, and the envelopes that it signs.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certctl_connector_core::ConnectorError;
use certctl_domain::secret::Secret;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The key of an account: P-256, the one that every CA takes.
pub(super) struct AccountKey(EcdsaKeyPair);

/// How the CA finds the key that a request was signed with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signer<'a> {
    /// The key itself is sent along, where there is no account yet.
    Key(&'a AccountKey),
    /// The account's URL is sent along.
    Account(&'a AccountKey, &'a str),
}

impl AccountKey {
    /// Makes a new key.
    pub(super) fn generate() -> Result<Self, ConnectorError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self).map_err(|_| broken("no account key can be made"))
    }

    /// Reads PKCS#8 in DER.
    pub(super) fn from_pkcs8(der: &Secret<Vec<u8>>) -> Result<Self, ConnectorError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose());
        pair.map(Self).map_err(|_| broken("the account key that is kept cannot be read"))
    }

    /// The key as PKCS#8 in DER, to be kept.
    pub(super) fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, ConnectorError> {
        let der = self.0.to_pkcs8v1().map_err(|_| broken("the account key cannot be written"))?;
        Ok(Secret::new(der.as_ref().to_vec()))
    }

    /// The public half (RFC 7517).
    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({"crv": "P-256", "kty": "EC", "x": x, "y": y})
    }

    /// What a challenge is answered with: the token and the key's thumbprint (RFC 8555 section 8.1).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        let (x, y) = self.coordinates();
        // RFC 7638 section 3: these members, in this order, without blanks.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        format!("{token}.{}", sha256_text(canonical.as_bytes()))
    }

    fn coordinates(&self) -> (String, String) {
        // An uncompressed point: 4, then 32 bytes each.
        let point = self.0.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at_checked(32).unwrap_or_default();
        (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }

    fn sign(&self, input: &str) -> Result<String, ConnectorError> {
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes());
        signature.map(|signature| URL_SAFE_NO_PAD.encode(signature)).map_err(|_| broken("the account key did not sign"))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey([redacted])")
    }
}

impl Signer<'_> {
    /// One request: what is said, where and with which nonce. Without a payload it only reads (POST-as-GET).
    pub(super) fn envelope(self, url: &str, nonce: Option<&str>, payload: Option<&Value>) -> Result<Value, ConnectorError> {
        let (key, who) = match self {
            Self::Key(key) => (key, ("jwk", key.jwk())),
            Self::Account(key, account) => (key, ("kid", json!(account))),
        };
        let fixed = [("alg", json!("ES256")), ("url", json!(url)), who];
        let header = fixed.into_iter().chain(nonce.map(|nonce| ("nonce", json!(nonce))));
        let header: Map<String, Value> = header.map(|(name, value)| (name.to_owned(), value)).collect();
        let protected = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
        let payload = payload.map(|payload| URL_SAFE_NO_PAD.encode(payload.to_string())).unwrap_or_default();
        let signature = key.sign(&format!("{protected}.{payload}"))?;
        Ok(json!({"protected": protected, "payload": payload, "signature": signature}))
    }
}

/// Binds a new account to one that the CA knows from elsewhere (RFC 8555 section 7.3.4).
pub(super) fn external_binding(key: &AccountKey, kid: &str, mac_key: &MacKey, url: &str) -> Value {
    let protected = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": kid, "url": url}).to_string());
    let payload = URL_SAFE_NO_PAD.encode(key.jwk().to_string());
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &mac_key.0), format!("{protected}.{payload}").as_bytes());
    json!({"protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(mac)})
}

/// The key of an external binding.
#[derive(Clone)]
pub(super) struct MacKey(Zeroizing<Vec<u8>>);

impl MacKey {
    /// Reads base64url; padding and the other alphabet are forgiven, since CAs hand out both.
    pub(super) fn parse(text: &Secret<String>) -> Result<Self, ConnectorError> {
        let plain = Zeroizing::new(text.expose().trim().trim_end_matches('=').replace('+', "-").replace('/', "_"));
        let key = URL_SAFE_NO_PAD.decode(plain.as_bytes()).ok().filter(|key| !key.is_empty());
        key.map(|key| Self(Zeroizing::new(key))).ok_or_else(|| {
            ConnectorError::permanent("eab_hmac is not base64url").hint("copy the HMAC key as the CA shows it, without quotes and blanks")
        })
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey([redacted])")
    }
}

/// SHA-256 as base64url.
pub(super) fn sha256_text(of: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, of))
}

fn broken(what: &str) -> ConnectorError {
    ConnectorError::permanent(what)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn an_envelope_is_signed_over_header_and_payload() {
        let key = AccountKey::from_pkcs8(&AccountKey::generate().unwrap().to_pkcs8().unwrap()).unwrap();
        let envelope =
            Signer::Account(&key, "https://ca.test/acct/1").envelope("https://ca.test/x", Some("n-1"), Some(&json!({"a": 1}))).unwrap();
        let text = |name: &str| envelope[name].as_str().unwrap().to_owned();
        let input = format!("{}.{}", text("protected"), text("payload"));
        let signature = URL_SAFE_NO_PAD.decode(text("signature")).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.0.public_key()).verify(input.as_bytes(), &signature).unwrap();
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text("protected")).unwrap()).unwrap();
        assert_eq!(header, json!({"alg": "ES256", "url": "https://ca.test/x", "kid": "https://ca.test/acct/1", "nonce": "n-1"}));
        let reading = Signer::Key(&key).envelope("https://ca.test/x", None, None).unwrap();
        assert_eq!(reading["payload"], "");
    }

    #[test]
    fn a_mac_key_is_read_in_every_usual_form_and_never_shown() {
        for text in ["-_8", "-_8=", "+/8", " -_8 "] {
            assert_eq!(MacKey::parse(&Secret::new(text.to_owned())).unwrap().0.as_slice(), [0xfb, 0xff], "{text}");
        }
        for text in ["", "hunter2!", "a"] {
            let error = MacKey::parse(&Secret::new(text.to_owned())).unwrap_err();
            assert!(!error.explain().contains("hunter2"), "{error}");
        }
        let key = AccountKey::generate().unwrap();
        let mac = MacKey::parse(&Secret::new("c2VjcmV0".to_owned())).unwrap();
        assert_eq!(format!("{key:?} {mac:?}"), "AccountKey([redacted]) MacKey([redacted])");
        let binding = external_binding(&key, "kid-1", &mac, "https://ca.test/new-account");
        assert_eq!(URL_SAFE_NO_PAD.decode(binding["payload"].as_str().unwrap()).unwrap(), key.jwk().to_string().into_bytes());
    }
}
