use der::Encode as _;
use proptest::prelude::*;

use super::*;
use crate::tlv::{self, Weight};

fn id(serial: &[u8]) -> Vec<u8> {
    let sha1 = tlv::sequence(&[&const_oid::db::rfc5912::ID_SHA_1.to_der().unwrap(), &[5, 0]]);
    let hash = tlv::value(tlv::OCTET_STRING, &[7; 20]);
    tlv::sequence(&[&sha1, &hash, &hash, &tlv::value(tlv::INTEGER, serial)])
}

fn extension(oid: ObjectIdentifier, weight: Weight, value: &[u8]) -> Vec<u8> {
    tlv::extension(oid, weight, value).unwrap()
}

fn nonce_of(length: usize) -> Vec<u8> {
    extension(Nonce::OID, Weight::Plain, &tlv::value(tlv::OCTET_STRING, &vec![9; length]))
}

fn request(ids: &[Vec<u8>], extensions: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<u8> = ids.iter().flat_map(|id| tlv::sequence(&[id])).collect();
    let extensions = match extensions {
        [] => Vec::new(),
        some => tlv::value(tlv::explicit(2), &tlv::value(tlv::SEQUENCE, &some.concat())),
    };
    tlv::sequence(&[&tlv::sequence(&[&tlv::value(tlv::SEQUENCE, &list), &extensions])])
}

#[test]
fn a_serial_number_is_one_whatever_its_spelling() {
    for (spelled, wanted) in [
        (&[0x1f, 2][..], Some("1f02")),
        (&[0, 0x1f, 2], Some("1f02")),
        (&[0, 0, 0, 0x1f, 2], Some("1f02")),
        (&[0, 0x9a], Some("009a")),
        (&[0x9a], Some("009a")),
        (&[0x0a], Some("0a")),
        (&[0], None),
    ] {
        let read = Request::parse(&request(&[id(spelled)], &[])).unwrap();
        assert_eq!(read.ids()[0].serial().map(certctl_domain::x509::Serial::as_str), wanted, "{spelled:?}");
        assert_eq!(read.ids()[0].der(), id(spelled), "sent back as it came");
    }
}

#[test]
fn nonces_have_bounds() {
    for length in [1, 8, 16, 32, 128] {
        let read = Request::parse(&request(&[id(&[1])], &[nonce_of(length)])).unwrap();
        assert_eq!(read.nonce().unwrap().as_bytes(), vec![9; length]);
    }
    for length in [0, 129, 1_000] {
        assert_eq!(Request::parse(&request(&[id(&[1])], &[nonce_of(length)])), Err(MalformedRequest::Nonce(length)));
    }
    let bare = extension(Nonce::OID, Weight::Plain, &[9; 16]);
    assert!(matches!(Request::parse(&request(&[id(&[1])], &[bare])), Err(MalformedRequest::Der(_))));
    let two = request(&[id(&[1])], &[nonce_of(8), nonce_of(8)]);
    assert_eq!(Request::parse(&two), Err(MalformedRequest::SeveralNonces));
}

#[test]
fn several_certificates_may_be_asked_about_but_not_any_number() {
    assert_eq!(Request::parse(&request(&vec![id(&[1]); 32], &[])).unwrap().ids().len(), 32);
    for n in [0, 33] {
        assert_eq!(Request::parse(&request(&vec![id(&[1]); n], &[])), Err(MalformedRequest::Certificates(n)));
    }
    assert_eq!(Request::parse(&[0x30; 20_000]), Err(MalformedRequest::TooLong(20_000)));
}

#[test]
fn what_must_be_understood_and_is_not_is_refused() {
    let oid = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.99");
    let plain = request(&[id(&[1])], &[extension(oid, Weight::Plain, &[5, 0])]);
    assert!(Request::parse(&plain).is_ok());
    let critical = request(&[id(&[1])], &[extension(oid, Weight::Critical, &[5, 0])]);
    assert_eq!(Request::parse(&critical), Err(MalformedRequest::CriticalExtension(oid)));
}

proptest! {
    #[test]
    fn nothing_that_is_sent_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _read = Request::parse(&bytes);
    }

    #[test]
    fn a_request_with_a_few_changed_bytes_does_no_harm(
        changes in proptest::collection::vec((0_usize..120, any::<u8>()), 1..4),
        cut in 0_usize..120,
    ) {
        let mut bytes = request(&[id(&[0x1f, 2]), id(&[3])], &[nonce_of(16)]);
        for (at, byte) in changes {
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        let _read = Request::parse(&bytes);
        bytes.truncate(cut);
        prop_assert!(Request::parse(&bytes).is_err());
    }
}
