//! The settings of a URL, and what rustls makes of them.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind};
use crate::net::url::Url;

/// How servers are trusted, and who this client is to them. Clones share sessions.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    settings: Settings,
    made: PerProcess<Mutex<Option<Made>>>,
}

/// A configuration. Sessions are resumed as long as it is used.
struct Made {
    /// What the files were like.
    stamps: Vec<Stamp>,
    config: Arc<ClientConfig>,
}

struct Settings {
    /// The redacted URL, for the log.
    place: String,
    /// The certificates of the authorities that are trusted, instead of the system's.
    ca: Option<PathBuf>,
    /// The certificate of this client, and its key.
    identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate is for, if it isn't the host's.
    server_name: Option<ServerName<'static>>,
    verifies: bool,
}

/// What tells a renewed file from the old one.
type Stamp = (Option<SystemTime>, u64);

impl Tls {
    /// Takes the parameters of TLS out of `url`. Their files are read when a connection is opened.
    pub(crate) fn take(url: &mut Url) -> Result<Self, Error> {
        let place = url.to_string();
        let (ca, cert) = (url.take("ca", "a path")?, url.take("cert", "a path")?);
        let identity = match (cert, url.take("key", "a path")?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(config("`cert` and `key` in the URL need each other")),
        };
        let server_name: Option<String> = url.take("server_name", "a name")?;
        let server_name = server_name.map(|name| parse_name(&name)).transpose()?;
        let verifies = url.take("verify", "`true` or `false`")?.unwrap_or(true);
        let settings = Settings { place, ca, identity, server_name, verifies };
        Ok(Self(Arc::new(Shared { settings, made: PerProcess::new() })))
    }

    /// The name that the certificate of the server at `host` must be for.
    pub(crate) fn server_name(&self, host: &str) -> io::Result<ServerName<'static>> {
        match &self.0.settings.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name(host).map_err(io::Error::other),
        }
    }

    /// The configuration of a connection that is opened now. It is made anew when a file has changed.
    pub(crate) fn client(&self) -> io::Result<Arc<ClientConfig>> {
        let settings = &self.0.settings;
        let mut made = lock(self.0.made.get(|_| Mutex::default()));
        let stamps = settings.stamps().map_err(io::Error::other)?;
        if let Some(made) = &*made
            && made.stamps == stamps
        {
            return Ok(made.config.clone());
        }
        let config = Arc::new(settings.client().map_err(io::Error::other)?);
        *made = Some(Made { stamps, config: config.clone() });
        Ok(config)
    }
}

impl Settings {
    fn stamps(&self) -> Result<Vec<Stamp>, Error> {
        let stamp = |metadata: Metadata| (metadata.modified().ok(), metadata.len());
        let identity = self.identity.iter().flat_map(|(cert, key)| [("cert", cert), ("key", key)]);
        let files = self.ca.iter().map(|ca| ("ca", ca)).chain(identity);
        files
            .map(|(name, path)| fs::metadata(path).map(stamp).map_err(|error| bad_file(name, path, &error)))
            .collect()
    }

    fn client(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(broken)?;
        let builder = match self.verifies {
            true => {
                let roots = Arc::new(self.roots()?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
                builder.with_webpki_verifier(verifier.build().map_err(broken)?)
            }
            false => {
                let place = &self.place;
                log::warn!(
                    "cache {place}: `verify=false` trusts any server that answers, and whoever is between"
                );
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            }
        };
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((cert, key)) => {
                let certs = certificates("cert", cert)?;
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| bad_file("key", key, &error))?;
                let config = builder.with_client_auth_cert(certs, private);
                config.map_err(|error| bad_file("key", key, &error))
            }
        }
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => {
                for certificate in certificates("ca", ca)? {
                    roots.add(certificate).map_err(|error| bad_file("ca", ca, &error))?;
                }
            }
            // Some systems have certificates that nobody can read.
            None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        }
        match roots.is_empty() {
            true => {
                Err(config("the system has no certificates of authorities: name some with `ca=` in the URL"))
            }
            false => Ok(roots),
        }
    }
}

fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| bad_file(name, path, &error))?;
    match certificates.is_empty() {
        true => Err(bad_file(name, path, &"no certificate in it")),
        false => Ok(certificates),
    }
}

fn bad_file(name: &str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    config(format!("the file `{}` of `{name}` in the URL can't be used: {why}", path.display()))
}

fn parse_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        config(format!("`{name}` can't be the name in a certificate: set `server_name` in the URL"))
    })
}

fn config(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    config(error.to_string()).with_source(error)
}

/// Trusts any certificate: `verify=false`. That the server has its key is checked all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
