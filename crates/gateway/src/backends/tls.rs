//! Whom to trust behind `https://`.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Trusts the authorities of the operating system, and those in the PEM file `ca_file`.
///
/// # Errors
/// A message, if the file holds no certificate or nobody at all would be trusted.
pub(crate) fn trusting(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // What cannot be read there is passed over: it may be an authority that nobody needs.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        add_from(file, &mut roots).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    if roots.is_empty() {
        return Err("the system trusts no certificate authority: install its package of them, \
                    such as ca-certificates, or write ca_file = \"FILE.pem\""
            .into());
    }
    Ok(with(roots))
}

/// Trusts nobody: for `http://`.
pub(super) fn trusting_nobody() -> ClientConfig {
    with(RootCertStore::empty())
}

/// Whether a PEM file holds certificates, all of which can be trusted.
///
/// # Errors
/// What is wrong with it.
pub fn check_authorities(file: &Path) -> Result<(), String> {
    add_from(file, &mut RootCertStore::empty())
}

fn add_from(file: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())? {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    if roots.len() == before {
        return Err("there is no certificate in it: allowed is a PEM file with one or more".into());
    }
    Ok(())
}

fn with(roots: RootCertStore) -> ClientConfig {
    // Named here, so that no provider has to be installed for the whole process.
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What is wrong with a certificate and what to do about it, where rustls only names the rule.
pub(super) fn explain(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(problem) = error else { return None };
    match problem {
        CertificateError::UnknownIssuer => Some(
            "its certificate comes from nobody who is trusted here: name the file of its \
             authority, or of the certificate itself if it is self-signed, in ca_file",
        ),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Some(
            "its certificate is marked as an authority (CA:TRUE), which no server's may be: make \
             it with openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days \
             3650 -subj /CN=HOST -addext subjectAltName=DNS:HOST -addext \
             basicConstraints=critical,CA:FALSE",
        ),
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            Some("its certificate is of version 1, without names: make one with a subjectAltName")
        }
        _ => None,
    }
}
