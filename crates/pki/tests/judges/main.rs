//! Independent judges: what we write is read by openssl and webpki, what openssl and rcgen write is read by us.

#[cfg(test)]
mod crl;
#[cfg(test)]
mod import;
#[cfg(test)]
mod issue;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod ocsp;
#[cfg(test)]
mod openssl;
#[cfg(test)]
mod pkcs12;
#[cfg(test)]
mod read;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod world;
