//! TLS towards what is checked: rustls with ring, the system's root certificates.
//!
//! No session is ever resumed: a resumed session shows no certificate, and a certificate that has expired since is what a check is
//! there to find. `skip_verify` takes any certificate, even one that is none.

use std::io;
use std::sync::Arc;

use rollcall_rt as rt;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::sync::OnceCell;

use crate::definition::Tls;

/// What is offered besides TLS itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    /// Nothing: the connection is all that is wanted.
    None,
    /// HTTP of either version.
    Http,
    /// HTTP/2 only, as gRPC wants it.
    Http2,
}

/// Which authorities are believed.
#[derive(Debug, Clone)]
pub enum Authorities {
    /// Those of the system, read once, when the first check asks.
    System,
    /// These.
    Given(Arc<RootCertStore>),
}

/// Why there is no TLS. Where Go has words of its own for it, they are the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// Neither a DNS name nor an IP address.
    #[error("tls: {0:?} is no name of a server")]
    Name(String),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(String),
}

impl TlsError {
    /// From what a handshake returned.
    pub(super) fn of_handshake(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        TlsError::Handshake(match inner {
            Some(error) => words(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            None => super::dial::system_words(&error),
        })
    }
}

fn words(error: &rustls::Error) -> String {
    use CertificateError as C;
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(_) => {
            return "tls: first record does not look like a TLS handshake".to_owned();
        }
        other => return format!("tls: {other}"),
    };
    let x509 = match certificate {
        C::Expired | C::NotValidYet => "certificate has expired or is not yet valid".to_owned(),
        C::ExpiredContext { .. } | C::NotValidYetContext { .. } => {
            format!("certificate has expired or is not yet valid: {certificate}")
        }
        C::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        C::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "certificate is valid for {}, not {}",
            presented.join(", "),
            expected.to_str()
        ),
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {x509}")
}

/// The configurations all checks share.
#[derive(Debug)]
pub(super) struct Secure {
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
    verified: OnceCell<[Arc<ClientConfig>; 3]>,
    unverified: OnceCell<[Arc<ClientConfig>; 3]>,
}

impl Secure {
    /// Believes these authorities.
    pub(super) fn new(authorities: Authorities) -> Self {
        Secure {
            authorities,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            verified: OnceCell::new(),
            unverified: OnceCell::new(),
        }
    }

    /// The configuration for a connection, and the name the certificate must bear.
    pub(super) async fn client(
        &self,
        tls: &Tls,
        host: &str,
        protocols: Protocols,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), TlsError> {
        let name = match tls.server_name.as_str() {
            "" => host,
            given => given,
        };
        let name = match ServerName::try_from(name.to_owned()) {
            Ok(name) => name,
            // A name is sent, but not looked at.
            Err(_) if tls.skip_verify => {
                ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
            }
            Err(_) => return Err(TlsError::Name(name.to_owned())),
        };
        let configs = if tls.skip_verify {
            let anything = Anything::new(&self.provider);
            let make = async || self.configs(Trust::Anything(Arc::new(anything)));
            self.unverified.get_or_init(make).await
        } else {
            let make = async || self.configs(Trust::Roots(load(&self.authorities).await));
            self.verified.get_or_init(make).await
        };
        let config = match protocols {
            Protocols::None => &configs[0],
            Protocols::Http => &configs[1],
            Protocols::Http2 => &configs[2],
        };
        Ok((Arc::clone(config), name))
    }

    /// By [`Protocols`].
    fn configs(&self, trust: Trust) -> [Arc<ClientConfig>; 3] {
        let offers: [&[&[u8]]; 3] = [&[], &[b"h2", b"http/1.1"], &[b"h2"]];
        offers.map(|offer| {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
                .with_safe_default_protocol_versions()
                .expect("ring must support the default versions");
            let mut config = match &trust {
                Trust::Anything(verifier) => builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::<Anything>::clone(verifier))
                    .with_no_client_auth(),
                Trust::Roots(roots) => builder
                    .with_root_certificates(Arc::clone(roots))
                    .with_no_client_auth(),
            };
            config.alpn_protocols = offer.iter().map(|name| name.to_vec()).collect();
            config.resumption = Resumption::disabled();
            Arc::new(config)
        })
    }
}

/// What makes a certificate good.
enum Trust {
    Roots(Arc<RootCertStore>),
    Anything(Arc<Anything>),
}

async fn load(authorities: &Authorities) -> Arc<RootCertStore> {
    match authorities {
        Authorities::Given(roots) => Arc::clone(roots),
        Authorities::System => {
            let found = rt::blocking(rustls_native_certs::load_native_certs).await;
            for error in &found.errors {
                tracing::warn!(%error, "root certificates of the system");
            }
            let mut roots = RootCertStore::empty();
            let (read, unreadable) = roots.add_parsable_certificates(found.certs);
            tracing::debug!(read, unreadable, "root certificates of the system");
            Arc::new(roots)
        }
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Anything {
    schemes: Vec<SignatureScheme>,
}

impl Anything {
    fn new(provider: &CryptoProvider) -> Self {
        Anything {
            schemes: provider
                .signature_verification_algorithms
                .supported_schemes(),
        }
    }
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by nobody in particular proves nothing, and certificates that webpki cannot read have keys that it cannot check.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
