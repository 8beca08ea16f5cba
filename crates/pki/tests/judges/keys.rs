//! Private keys as openssl writes them, in every form; ours as openssl reads them.

use certctl_domain::x509::KeyAlgorithm;
use certctl_pki::key::{KeyError, PrivateKey};
use certctl_pki::public_key::UnsupportedKey;

use crate::openssl::Openssl;

#[test]
fn every_form_of_openssl_is_read() {
    let openssl = Openssl::new();
    for (make, algorithm) in [
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem", KeyAlgorithm::Rsa2048),
        ("genrsa -traditional -out key.pem 3072", KeyAlgorithm::Rsa3072),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem", KeyAlgorithm::EcdsaP256),
        ("ecparam -name prime256v1 -genkey -out key.pem", KeyAlgorithm::EcdsaP256), // EC PARAMETERS before EC PRIVATE KEY
        ("ecparam -name secp384r1 -genkey -noout -out key.pem", KeyAlgorithm::EcdsaP384),
        ("genpkey -algorithm ED25519 -out key.pem", KeyAlgorithm::Ed25519),
    ] {
        openssl.run(make);
        let key = PrivateKey::from_pem(&openssl.get("key.pem")).unwrap_or_else(|error| panic!("{make}: {error}"));
        assert_eq!(key.algorithm(), algorithm, "{make}");
        openssl.put("ours.pem", key.to_pkcs8_pem().unwrap().expose());
        assert_eq!(openssl.run("pkey -in ours.pem -pubout"), openssl.run("pkey -in key.pem -pubout"), "{make}");
    }
}

#[test]
fn what_is_not_supported_is_said() {
    let openssl = Openssl::new();
    let refused = |make: &str| {
        openssl.run(make);
        PrivateKey::from_pem(&openssl.get("key.pem")).unwrap_err()
    };
    let error = refused("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out key.pem");
    assert!(matches!(error, KeyError::Malformed(_) | KeyError::Unsupported(UnsupportedKey::RsaTooSmall(1024))), "{error:?}");
    let error = refused("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2560 -out key.pem");
    assert!(matches!(error, KeyError::Unsupported(UnsupportedKey::RsaSize(2560))), "{error:?}");
    let error = refused("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key.pem");
    assert!(matches!(error, KeyError::Unsupported(UnsupportedKey::Curve(ref name)) if name.contains("secp521r1")), "{error:?}");
    let error = refused("ecparam -name secp256k1 -genkey -noout -out key.pem");
    assert!(matches!(error, KeyError::Malformed(_)), "{error:?}");
    let error = refused("genpkey -algorithm ED448 -out key.pem");
    assert!(matches!(error, KeyError::Unsupported(UnsupportedKey::Kind(_))), "{error:?}");
    let error = refused("genpkey -algorithm ED25519 -aes-256-cbc -pass pass:secret -out key.pem");
    assert!(matches!(error, KeyError::Encrypted), "{error:?}");
    let error = refused("genrsa -traditional -aes256 -passout pass:secret -out key.pem 2048");
    assert!(matches!(error, KeyError::Encrypted), "{error:?}");
}
