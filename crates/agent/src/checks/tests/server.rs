//! Servers for the tests: raw bytes over TCP, with TLS where asked for, and the requests they saw.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::checks::tls::Authorities;

/// A server that answers with given bytes.
pub(super) struct Canned {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What it does after its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Closes.
    Close,
    /// Keeps silent.
    Hang,
    /// Sends the last part again and again.
    Repeat,
}

impl Canned {
    /// On 127.0.0.1.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        Self::on("127.0.0.1:0", None, vec![answer.into()], then).await
    }

    /// Each connection gets the next answer, all later ones the last.
    pub(super) async fn in_turn(answers: Vec<String>) -> Self {
        let answers = answers.into_iter().map(String::into_bytes).collect();
        Self::on("127.0.0.1:0", None, answers, Then::Close).await
    }

    pub(super) async fn on(
        address: &str,
        tls: Option<TlsAcceptor>,
        answers: Vec<Vec<u8>>,
        then: Then,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut turn = 0;
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let answer = answers[turn.min(answers.len() - 1)].clone();
                turn += 1;
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answer, then, &seen).await,
                        Some(tls) => {
                            // A client that does not like the certificate ends the handshake.
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &answer, then, &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Canned { address, requests }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads and what came with them, in order of arrival.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &[u8],
    then: Then,
    seen: &Mutex<Vec<String>>,
) {
    let mut request = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        match stream.read(&mut request[length..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => length += read,
        }
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        if is_whole(&text) {
            seen.lock().push(text);
            break;
        }
    }
    if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    match then {
        Then::Close => drop(stream.shutdown().await),
        Then::Hang => std::future::pending().await,
        Then::Repeat => while stream.write_all(answer).await.is_ok() {},
    }
}

/// Whether a request's head and as much body as it announces are there.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    body.len() >= length
}

/// An address at which nothing listens.
pub(super) async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An authority of its own, and certificates by it.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

impl Authority {
    pub(super) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// To be believed by checks.
    pub(super) fn believed(&self) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Authorities::Given(Arc::new(roots))
    }

    /// A server with a certificate for these names, valid until this year, that speaks these protocols.
    pub(super) fn acceptor(&self, names: &[&str], until: i32, protocols: &[&str]) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
