//! TLS towards the server, and what binds a login to it.

use super::{UpstreamError, failed};
use crate::messages::Body;
use crate::startup::ALPN;
use crate::wire::Transport;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Asks for TLS and shakes hands. Also returns the channel binding data, if the certificate allows one.
pub(super) async fn protect(
    mut socket: TcpStream,
    host: &str,
    config: &Arc<ClientConfig>,
) -> Result<(Transport, Option<Vec<u8>>), UpstreamError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failed("name of the server")(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(failed("ask the server for TLS"))?;
    // One byte and no more: nothing sent in the clear may be taken for what is protected (CVE-2021-23222).
    match socket.read_u8().await.map_err(failed("ask the server for TLS"))? {
        b'S' => {}
        _ => return Err(UpstreamError::NoTls),
    }
    let mut config = Arc::clone(config);
    if config.alpn_protocols.is_empty() {
        Arc::make_mut(&mut config).alpn_protocols.push(ALPN.to_vec());
    }
    let stream =
        TlsConnector::from(config).connect(name, socket).await.map_err(failed("TLS to the server"))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let binding = certificate.and_then(|certificate| server_end_point(certificate));
    Ok((Transport::Upstream(Box::new(stream)), binding))
}

/// `tls-server-end-point` (RFC 5929 section 4.1): the certificate's hash by its own signature's hash function, SHA-256
/// for MD5 and SHA-1. `None` where the signature has no hash function of its own (Ed25519).
fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, … }, … }
    let (outer, _) = element(certificate, 0x30)?;
    let (_, after) = element(outer, 0x30)?;
    let (algorithm, _) = element(after, 0x30)?;
    let (oid, _) = element(algorithm, 0x06)?;
    match oid {
        RSA_MD5 | RSA_SHA1 | ECDSA_SHA1 | RSA_SHA256 | ECDSA_SHA256 => {
            Some(Sha256::digest(certificate).to_vec())
        }
        RSA_SHA384 | ECDSA_SHA384 => Some(Sha384::digest(certificate).to_vec()),
        RSA_SHA512 | ECDSA_SHA512 => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The content of the DER element at the start of `bytes`, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let mut body = Body::new(bytes);
    if body.u8().ok()? != tag {
        return None;
    }
    let first = body.u8().ok()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let count = usize::from(first & 0x7f);
        let digits = body.bytes(count).ok().filter(|_| (1..=4).contains(&count))?;
        digits.iter().fold(0, |length: usize, digit| (length << 8) | usize::from(*digit))
    };
    let content = body.bytes(length).ok()?;
    Some((content, body.rest()))
}

// Object identifiers of RFC 8017 and RFC 5758, without tag and length.
const RSA_MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
const RSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];

#[cfg(test)]
mod tests {
    use super::server_end_point;
    use sha2::{Digest, Sha256, Sha384};

    #[test]
    fn the_certificates_own_hash_function_is_used() {
        for (algorithm, bytes) in [(&rcgen::PKCS_ECDSA_P256_SHA256, 32), (&rcgen::PKCS_ECDSA_P384_SHA384, 48)]
        {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate =
                rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap();
            let expected = if bytes == 32 {
                Sha256::digest(certificate.der()).to_vec()
            } else {
                Sha384::digest(certificate.der()).to_vec()
            };
            assert_eq!(server_end_point(certificate.der()), Some(expected));
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_read_gives_no_binding() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x02, 0x30, 0x00]] {
            assert_eq!(server_end_point(bytes), None);
        }
    }
}
