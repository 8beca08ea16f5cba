//! OCSP: answers from memory, and answers signed for one nonce.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::compare::row;
use crate::failure::{Context as _, Failure, Result};
use crate::figure::{Goal, Row};
use crate::files;
use crate::http::request;
use crate::load::Work;
use crate::process::{capture, command};
use crate::world::World;

/// Asks about a certificate that the product issued, with requests that openssl wrote; openssl judges the answers.
pub(crate) async fn run(world: &World) -> Result<Vec<Row>> {
    let home = &world.setup.home;
    let (ca, leaf) = (home.join("issuing.pem"), home.join("leaf.pem"));
    let der = world.large.ask("GET", "/.well-known/pki/ca/iss-local", None).await?;
    files::write(&home.join("issuing.der"), der.is(200)?)?;
    capture(command("openssl").args(["x509", "-inform", "DER", "-in"]).arg(home.join("issuing.der")).arg("-out").arg(&ca))?;
    files::write(&leaf, &world.issued.chain_pem)?;
    let plain = question(home, &ca, &leaf, "-no_nonce")?;
    let nonce = question(home, &ca, &leaf, "-nonce")?;

    let encoded = STANDARD.encode(&plain).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let cached = request("GET", &format!("/.well-known/pki/ocsp/iss-local/{encoded}"), None, None);
    let path = "/.well-known/pki/ocsp/iss-local";
    let signed = request("POST", path, None, Some(("application/ocsp-request", &nonce)));
    for question in [&cached, &signed] {
        let mut connection = crate::http::Connection::open(&world.large.target).await?;
        judge(home, &ca, &leaf, connection.ask(question).await?.is(200)?)?;
    }

    let hello = Work::one(request("GET", "/hello", None, None), 200);
    let from_memory = world.compare(CONNECTIONS, &world.product(Work::one(cached, 200)), &world.limit(hello)).await?;
    let signature = Work::one(request("POST", "/sign", None, None), 200);
    let anew = world.compare(CONNECTIONS, &world.product(Work::one(signed, 200)), &world.limit(signature)).await?;
    let mut first = row("OCSP by GET, from memory", "hello", &from_memory, 0.7);
    if let Some(statements) = from_memory[0].statements() {
        // What periodic tasks ask the database meanwhile is in it.
        first = first.goal(Goal::at_most("statements", statements, 0.05, "a request"));
    }
    Ok(vec![first, row("OCSP by POST, with a nonce", "hello and one signature", &anew, 0.5)])
}

fn question(home: &Path, ca: &Path, leaf: &Path, nonce: &str) -> Result<Vec<u8>> {
    let file = home.join("question.der");
    capture(command("openssl").args(["ocsp", nonce, "-issuer"]).arg(ca).arg("-cert").arg(leaf).arg("-reqout").arg(&file))?;
    std::fs::read(&file).context("cannot read what openssl asks")
}

fn judge(home: &Path, ca: &Path, leaf: &Path, answer: &[u8]) -> Result<()> {
    let file = home.join("answer.der");
    files::write(&file, answer)?;
    let mut openssl = command("openssl");
    openssl.args(["ocsp", "-no_nonce", "-partial_chain", "-issuer"]).arg(ca).arg("-cert").arg(leaf).arg("-CAfile").arg(ca);
    let said = capture(openssl.arg("-respin").arg(&file))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if said.contains(": good") { Ok(()) } else { Err(Failure::new(format!("openssl does not find the status good: {said}"))) }
}

const CONNECTIONS: usize = 16;
