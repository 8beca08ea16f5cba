//! PKCS#12 files that hold certificates and no key (RFC 7292): what Windows, Java and browsers import.

use p12_keystore::{KeyStore, KeyStoreEntry};

use crate::chain::Chain;

/// Why a PKCS#12 file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Pkcs12Error {
    /// A password that the format has no way to write down.
    #[error("a password for PKCS#12 has at most {MAX_PASSWORD} characters, none of them beyond the basic multilingual plane")]
    Password,
    /// The library refused.
    #[error("the PKCS#12 file cannot be written: {0}")]
    Encoding(#[from] p12_keystore::error::Error),
}

/// The longest password, in characters.
pub const MAX_PASSWORD: usize = 256;

/// A file with every certificate of the chain and no key: encrypted under the password with PBES2 (AES-256-CBC, PBKDF2 with HMAC-SHA-256)
/// and sealed with HMAC-SHA-256, each certificate marked as trusted the way Java reads it. The leaf goes by `name`.
///
/// The password may be empty. The key derivation costs some milliseconds of a processor.
///
/// # Errors
/// When the password cannot be written down as the format wants it (a `BMPString`, RFC 7292 appendix B.1).
pub fn trust_store(chain: &Chain, name: &str, password: &str) -> Result<Vec<u8>, Pkcs12Error> {
    if password.chars().count() > MAX_PASSWORD || !password.chars().all(is_basic) {
        return Err(Pkcs12Error::Password);
    }
    let mut store = KeyStore::new();
    let name: String = name.chars().filter(|c| is_basic(*c)).collect();
    for (place, certificate) in chain.iter().enumerate() {
        // The library writes them in the order of their names, and a reader takes the first one for the leaf.
        let alias = if place == 0 { name.clone() } else { format!("{name} chain {place:02}") };
        store.add_entry(&alias, KeyStoreEntry::Certificate(p12_keystore::Certificate::from_der(certificate.der())?));
    }
    Ok(store.writer(password).write()?)
}

const fn is_basic(c: char) -> bool {
    c as u32 <= 0xffff && c != '\0'
}
