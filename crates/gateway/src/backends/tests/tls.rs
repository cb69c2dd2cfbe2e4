//! Backends behind `https://`.

use std::path::{Path, PathBuf};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use super::stand_in::{Shared, router};
use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes down what an operator would name as `ca_file`.
fn pem(folder: &Path, name: &str, authority: &Authority) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, authority.pem()).unwrap();
    file
}

/// A stand-in whose certificate is for `host` and from this authority.
async fn encrypted(authority: &Authority, host: &str) -> (Shared, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.into()]).unwrap();
    serve(&params.signed_by(&key, authority).unwrap(), &key).await
}

/// A stand-in that shows this certificate.
async fn serve(certificate: &Certificate, key: &KeyPair) -> (Shared, String) {
    let certificate = certificate.der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (stand_in, router) = router();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                // Clients that do not trust it hang up here.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = TowerToHyperService::new(router);
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    (stand_in, url)
}

#[tokio::test]
async fn servers_of_the_operators_own_authority_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let file = pem(folder.path(), "own.pem", &authority);
    for kind in KINDS {
        let (stand_in, url) = encrypted(&authority, "localhost").await;
        let ours = job(1).uuid().to_string();
        let data = json!({ "value": 23, "max": 23, "prompt_id": ours, "node": "3" });
        let progress = json!({ "type": "progress", "data": data }).to_string();
        stand_in.sockets.lock().unwrap().push(vec![Message::Text(progress.into())]);
        let backend = adapter(kind, Client::new(&url, None, Some(&file)).unwrap());
        backend.probe().await.unwrap();
        let notes = Notes::default();
        let painted = backend.generate(&job(1), &notes).await.unwrap();
        picture::check(&painted.png, 16, 16).unwrap();
        if kind == "comfyui" {
            assert_eq!(notes.0.lock().unwrap().0, [1.0], "its WebSocket is encrypted as well");
        }
    }
}

#[tokio::test]
async fn whoever_cannot_prove_its_name_is_not_talked_to() {
    let folder = tempfile::tempdir().unwrap();
    let (own, stranger) = (authority(), authority());
    let file = pem(folder.path(), "own.pem", &own);
    for (authority, host, why) in [
        (&stranger, "localhost", "invalid peer certificate"),
        (&own, "example.org", "not valid for name"),
    ] {
        let (stand_in, url) = encrypted(authority, host).await;
        for kind in KINDS {
            let backend = adapter(kind, Client::new(&url, None, Some(&file)).unwrap());
            let error = backend.generate(&job(1), &Notes::default()).await.unwrap_err();
            assert!(matches!(error, BackendError::Unreachable(_)), "{kind}: {error:?}");
            assert!(error.to_string().contains(why), "{kind}: {error}");
        }
        assert!(stand_in.seen.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_unless_it_is_an_authority() {
    let folder = tempfile::tempdir().unwrap();
    let said = async |is_ca: IsCa, trusted: bool| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = is_ca;
        params.distinguished_name.push(DnType::CommonName, "a server of its own");
        let certificate = params.self_signed(&key).unwrap();
        let (_, url) = serve(&certificate, &key).await;
        let file = folder.path().join("own.pem");
        let other = pem(folder.path(), "other.pem", &authority());
        std::fs::write(&file, certificate.pem()).unwrap();
        let trusted = if trusted { file } else { other };
        let backend = adapter("openai", Client::new(&url, None, Some(&trusted)).unwrap());
        backend.probe().await.map_err(|error| error.to_string())
    };
    // As `openssl req -x509` makes it unless told otherwise.
    let usual = IsCa::Ca(BasicConstraints::Unconstrained);
    let error = said(usual, true).await.unwrap_err();
    let whole = error.contains("marked as an authority") && error.ends_with("CA:FALSE");
    assert!(whole, "{error}");
    // As the message says how to make it.
    assert_eq!(said(IsCa::ExplicitNoCa, true).await, Ok(()));
    let error = said(IsCa::ExplicitNoCa, false).await.unwrap_err();
    assert!(error.contains("in ca_file"), "{error}");
}

#[test]
fn a_file_without_certificates_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text, why) in [
        ("empty.pem", Some(""), "there is no certificate"),
        ("key.pem", Some(&*key), "there is no certificate"),
        ("broken.pem", Some(broken), "certificate"),
        ("missing.pem", None, "No such file"),
    ] {
        let file = folder.path().join(name);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let message = Client::new("https://localhost", None, Some(&file)).err().unwrap();
        assert!(message.contains(name) && message.contains(why), "{message}");
    }
}
