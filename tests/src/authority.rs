//! A certificate authority for servers and clients of tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use time::OffsetDateTime;

/// An authority whose files are in a directory of its own, gone when dropped.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate and its key.
pub struct Identity {
    /// The certificate, in PEM.
    pub cert: String,
    /// Its key, in PEM.
    pub key: String,
}

impl Authority {
    /// A new one, which nobody trusts.
    pub fn new() -> Self {
        let dir = crate::servers::new_dir();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        // Trust goes by names first.
        params.distinguished_name.push(DnType::CommonName, dir.display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// The file of its certificate.
    pub fn ca(&self) -> String {
        self.dir.join("ca.pem").display().to_string()
    }

    /// A certificate for `name`, which is a host or an IP address.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_as(name, name, |_| {})
    }

    /// One that has expired.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_as("expired", name, |params| {
            params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(2 * 86_400);
            params.not_after = OffsetDateTime::now_utc() - Duration::from_secs(86_400);
        })
    }

    fn issue_as(&self, file: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |kind: &str, text: String| {
            let path = self.dir.join(format!("{file}-{kind}.pem"));
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        Identity { cert: write("cert", certificate.pem()), key: write("key", key.serialize_pem()) }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
