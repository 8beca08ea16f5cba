//! Serial numbers: random, so that they tell nothing and collide never.

use aws_lc_rs::rand;
use certctl_domain::x509::Serial;

/// A positive number of exactly 20 octets with 159 random bits (RFC 5280 section 4.1.2.2 allows 20 octets, sign bit included).
///
/// # Errors
/// When the system gives no randomness.
pub fn random_serial() -> Result<Serial, RandomError> {
    loop {
        let mut octets = [0; 20];
        rand::fill(&mut octets).map_err(|_| RandomError)?;
        if let Some(first) = octets.first_mut() {
            *first &= 0x7f;
            // A first octet of zero would make the DER shorter; such a number, one in 128, is drawn again.
            if *first != 0 {
                return Serial::from_der_bytes(&octets).map_err(|_| RandomError);
            }
        }
    }
}

/// The system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a serial number cannot be drawn: the system gives no randomness")]
pub struct RandomError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_positive_and_of_one_length() {
        let drawn: std::collections::BTreeSet<_> = (0..500).map(|_| random_serial().unwrap().to_der_bytes()).collect();
        assert_eq!(drawn.len(), 500);
        assert!(drawn.iter().all(|octets| octets.len() == 20 && (1..0x80).contains(&octets[0])));
    }
}
