//! Certificates: the brokers show them to everybody, and to one another.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::error::SetupError;
use super::plan::Node;

const DAY: Duration = Duration::from_hours(24);
/// How long certificates hold: ten years.
const DAYS: u32 = 3652;

/// Who signs the certificates of a cell.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// # Errors
    /// [`SetupError::Certificate`]
    pub(super) fn new(cell: &str) -> Result<Self, SetupError> {
        let make = || {
            let mut params = params(&format!("atelier cell {cell}"), [])?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        make().map(Self).map_err(failed(&format!("cell {cell}")))
    }

    /// Its certificate, as PEM.
    pub(super) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Its private key, as PEM.
    pub(super) fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// Certificate and private key of a node, as PEM. A broker is the server of clients and of other
    /// brokers, and a client of other brokers.
    ///
    /// # Errors
    /// [`SetupError::Certificate`]
    pub(super) fn issue(&self, cell: &str, node: &Node) -> Result<(String, String), SetupError> {
        let make = || -> Result<(Certificate, KeyPair), rcgen::Error> {
            let hosts = [node.host.as_str(), "localhost", "127.0.0.1"];
            let mut params = params(&format!("{} of atelier cell {cell}", node.name), hosts)?;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &self.0)?, key))
        };
        let (certificate, key) = make().map_err(failed(&format!("node {}", node.name)))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// A certificate for these hosts. It holds from yesterday on, for clocks that are behind.
fn params<'a>(
    name: &str,
    hosts: impl IntoIterator<Item = &'a str>,
) -> Result<CertificateParams, rcgen::Error> {
    let hosts: BTreeSet<String> = hosts.into_iter().map(str::to_ascii_lowercase).collect();
    let mut params = CertificateParams::new(hosts.into_iter().collect::<Vec<_>>())?;
    // Names of certificates have 64 characters at most.
    params.distinguished_name.push(DnType::CommonName, &name[..name.len().min(64)]);
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + today - DAY;
    params.not_after = date_time_ymd(1970, 1, 1) + today + DAY * DAYS;
    Ok(params)
}

fn failed(owner: &str) -> impl FnOnce(rcgen::Error) -> SetupError + use<> {
    let owner = owner.to_owned();
    move |problem| SetupError::Certificate { owner, problem }
}
