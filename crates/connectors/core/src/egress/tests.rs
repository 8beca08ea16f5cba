use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::Retry;

/// Answers every connection with the same bytes; `{self}` is its own address.
async fn server(answer: impl Into<String>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer.into().replace("{self}", &address.to_string());
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if tcp.read(&mut request).await.is_ok_and(|n| n > 0) {
                    tcp.write_all(answer.as_bytes()).await.ok();
                }
                tcp.shutdown().await.ok();
            });
        }
    });
    Url::parse(&format!("http://{address}/secret-path?token=hunter2")).unwrap()
}

fn client(change: impl FnOnce(&mut Settings)) -> Egress {
    let mut settings = Settings { schemes: Schemes::HttpToo, reach: Reach::Private, ..Settings::default() };
    change(&mut settings);
    Egress::new(&settings).unwrap()
}

async fn get(client: &Egress, url: &Url) -> Result<Answer, ConnectorError> {
    client.send(client.request(Method::GET, url)?).await
}

#[tokio::test]
async fn a_whole_answer_comes_back() {
    let url = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    let answer = get(&client(|_| {}), &url).await.unwrap().into_success().unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, &b"hi"[..]));
}

#[tokio::test]
async fn a_large_body_is_refused_announced_or_not() {
    let client = client(|s| s.max_body = 10);
    for head in ["Content-Length: 11\r\n", "Connection: close\r\n"] {
        let url = server(format!("HTTP/1.1 200 OK\r\n{head}\r\nhello world")).await;
        assert!(get(&client, &url).await.unwrap_err().to_string().contains("larger than 10"));
    }
}

#[tokio::test]
async fn redirects_are_few_and_guarded() {
    let url = server("HTTP/1.1 302 Found\r\nLocation: http://{self}/again\r\nContent-Length: 0\r\n\r\n").await;
    let error = get(&client(|s| s.max_redirects = 3), &url).await.unwrap_err();
    assert!(error.explain().contains("more than 3 redirects"), "{}", error.explain());

    let url = server("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n").await;
    let error = get(&client(|_| {}), &url).await.unwrap_err();
    assert!(error.to_string().contains("link-local") && error.retry() == Retry::Permanent, "{}", error.explain());
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused() {
    let url = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let by_name = Url::parse(&format!("http://localhost:{}/", url.port().unwrap())).unwrap();
    let error = get(&client(|s| s.reach = Reach::Public), &by_name).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{}", error.explain());
    assert_eq!(error.retry(), Retry::Permanent);
    assert!(get(&client(|s| s.reach = Reach::Public), &url).await.is_err(), "the address itself");
    let listed = client(|s| {
        s.reach = Reach::Public;
        s.allow = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    });
    assert!(get(&listed, &by_name).await.is_ok());
}

#[tokio::test]
async fn statuses_have_a_retry_class() {
    let date = "Date: Wed, 21 Oct 2026 07:28:00 GMT\r\nRetry-After: Wed, 21 Oct 2026 07:30:00 GMT\r\n";
    for (status, head, class) in [
        ("429 Too Many Requests", "Retry-After: 7\r\n", Retry::Throttled { retry_after_seconds: Some(7) }),
        ("503 Service Unavailable", date, Retry::Throttled { retry_after_seconds: Some(120) }),
        ("503 Service Unavailable", "", Retry::Transient),
        ("500 Internal Server Error", "", Retry::Transient),
        ("401 Unauthorized", "", Retry::Authentication),
        ("403 Forbidden", "", Retry::Authentication),
        ("404 Not Found", "", Retry::Permanent),
    ] {
        let url = server(format!("HTTP/1.1 {status}\r\n{head}Content-Length: 3\r\n\r\nwhy")).await;
        let error = get(&client(|_| {}), &url).await.unwrap().into_success().unwrap_err();
        assert_eq!(error.retry(), class, "{status}");
        assert!(error.to_string().ends_with(": why"), "{error}");
    }
}

#[tokio::test]
async fn silence_and_absence_are_transient_and_leak_no_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/?token=hunter2", listener.local_addr().unwrap())).unwrap();
    let impatient = client(|s| s.timeout = Duration::from_millis(200));
    let error = get(&impatient, &url).await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    drop(listener);
    let absent = get(&impatient, &url).await.unwrap_err();
    for error in [error, absent] {
        assert_eq!(error.retry(), Retry::Transient);
        assert!(!format!("{error:?} {}", error.explain()).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_proxy_is_used_and_its_password_is_not_shown() {
    let proxy = server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthe proxy").await;
    let address = format!("http://bob:hunter2@127.0.0.1:{}", proxy.port().unwrap());
    let through = client(|s| s.proxy = Some(Secret::new(address)));
    let answer = get(&through, &Url::parse("http://elsewhere.example.test/").unwrap()).await.unwrap();
    assert_eq!(answer.body, b"the proxy");
    let error = Egress::new(&Settings { proxy: Some(Secret::new("::hunter2".into())), ..Settings::default() }).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn https_trusts_the_roots_that_were_added_and_no_stranger() {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                if tls.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {
                    tls.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.ok();
                }
                tls.shutdown().await.ok();
            }
        }
    });
    let knows = client(|s| s.extra_roots = vec![cert.der().to_vec()]);
    assert_eq!(get(&knows, &url).await.unwrap().status, StatusCode::NO_CONTENT);
    let stranger = get(&client(|_| {}), &url).await.unwrap_err();
    assert!(stranger.explain().contains("certificate"), "{}", stranger.explain());
    assert!(Egress::new(&Settings { extra_roots: vec![b"junk".to_vec()], ..Settings::default() }).is_err());
}
