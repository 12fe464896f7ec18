//! A certificate authority that lives as long as one sandbox.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::sandbox::StartError;

/// TLS as `localhost`, `127.0.0.1` and `::1`, and the authority's certificate that proves it.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

impl Tls {
    /// Makes an authority, has it sign one certificate and forgets its private key.
    pub(crate) fn new() -> Result<Self, StartError> {
        let authority = authority()?;
        let (certificate, key) = certificate(&authority)?;
        let private = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| StartError::Certificate(error.to_owned()))?;
        // Named here, not process-wide: a test may have another provider installed, or none.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca_pem: authority.pem(),
        })
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, StartError> {
    let mut params = CertificateParams::default();
    let name = "vestibule sandbox, throw-away authority";
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(failed)?;
    CertifiedIssuer::self_signed(params, key).map_err(failed)
}

fn certificate(
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> Result<(Certificate, KeyPair), StartError> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).map_err(failed)?;
    let name = "vestibule sandbox";
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict verifiers (Python 3.13 and later) refuse a certificate without it.
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, authority).map_err(failed)?;
    Ok((certificate, key))
}

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Certificate(error.to_string())
}
