//! The exchange of a token for a certificate: the one thing that a client can start who logs in for it.

use super::{Over, Relay, Start};
use crate::acts;
use crate::certificate::{Authority, CertificateError};
use crate::refusals::refusal;
use crate::session::Trade;
use bytes::Bytes;
use proxy_core::gate::End;
use proxy_core::refusal::{Refusal, RefusalKind};
use std::time::SystemTime;

impl Relay {
    /// Issues a certificate for the key that the client names, on record before it is given out.
    pub(super) async fn trade(&self, terms: &Trade, start: &Start) -> Over {
        match self.issued(terms, start).await {
            Ok(certificate) => {
                let given = async {
                    self.write.data_bytes(Bytes::from(certificate + "\n")).await?;
                    self.write.exit_status(0).await?;
                    self.write.eof().await?;
                    self.write.close().await
                };
                match given.await {
                    Ok(()) => Over::Done,
                    Err(_) => Over::Gone,
                }
            }
            Err(refusal) => refusal.into(),
        }
    }

    async fn issued(&self, terms: &Trade, start: &Start) -> Result<String, Refusal> {
        let wrong = |error: CertificateError| {
            refusal(RefusalKind::Protocol, error.to_string(), "use portcullis ssh login")
        };
        let line = match start {
            Start::Exec(line) => std::str::from_utf8(line).ok(),
            Start::Shell { .. } | Start::Subsystem(_) | Start::Forward | Start::Display(_) => None,
        };
        let key = line.and_then(|line| line.strip_prefix("certificate "));
        let key = key.ok_or_else(|| wrong(CertificateError::PublicKey))?;
        let fingerprint = Authority::fingerprint(key).map_err(wrong)?;
        let permit = self.session.decide_now(acts::certificate(&self.session.place, &fingerprint)).await?;
        let issued = terms.authority.issue(
            key,
            &terms.token,
            (&self.session.identity.username, SystemTime::from(terms.until)),
        );
        self.session.finish(permit, End::ok(0)).await?;
        issued.map_err(wrong)
    }
}
