//! The check of the server's certificate: issuer, name and expiry.

use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, Error};

use super::finding::Finding;
use super::visit::ANSWER_TIMEOUT;
use crate::cli::client::{Tls, tls_reason};
use crate::cli::format;

const DAY: Duration = Duration::from_secs(86_400);
/// The remaining lifetime at which a renewal is overdue: automatic renewals happen 30 days before expiry.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// A duration longer than the lifetime of any certificate.
const AGES: Duration = Duration::from_secs(1000 * 365 * 86_400);

const RENEW: &str = "certbot: certbot renew, then nginx -s reload or systemctl reload fanfare (Caddy renews by itself: see its log)";

/// Performs the TLS handshake with the server `name` on `stream`, and checks its certificate.
///
/// # Errors
/// The finding, if the handshake fails and no other check is possible.
pub(super) async fn check(
    tls: &Tls,
    name: &ServerName<'static>,
    stream: TcpStream,
) -> Result<Option<Finding>, Finding> {
    let stream = match timeout(ANSWER_TIMEOUT, tls.secure(stream, name.clone())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(match tls_reason(&error) {
                Some(reason) => refused(name, reason),
                None => no_tls(&error.to_string()),
            });
        }
        Err(_elapsed) => {
            return Err(no_tls(&format!(
                "no answer within {} s",
                ANSWER_TIMEOUT.as_secs()
            )));
        }
    };

    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // The expiry is determined by checking the certificate at later times.
    let ends = |later| match tls.check(chain, name, UnixTime::since_unix_epoch(now + later)) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    };
    let left = |end: Duration| end.saturating_sub(now).as_secs() / DAY.as_secs();

    Ok(Some(match (ends(SOON), ends(AGES)) {
        (Some(end), _) => {
            let seen = format!("it expires in {} days, on {}", left(end), date(end));
            Finding::note("certificate", seen).fix(RENEW)
        }
        (None, Some(end)) => Finding::good(
            "certificate",
            format!(
                "good for {} for {} days, until {}",
                name.to_str(),
                left(end),
                date(end)
            ),
        ),
        (None, None) => Finding::good("certificate", format!("good for {}", name.to_str())),
    }))
}

/// Returns the finding for a handshake that failed for `reason`.
fn refused(name: &ServerName<'_>, reason: &Error) -> Finding {
    let name = name.to_str();
    let bad = |seen: String| Finding::bad("certificate", seen);
    let Error::InvalidCertificate(wrong) = reason else {
        return no_tls(&reason.to_string());
    };

    match wrong {
        CertificateError::Expired => bad("it has expired".to_owned()).fix(RENEW),
        CertificateError::ExpiredContext { not_after, .. } => bad(format!(
            "it expired on {}",
            date(Duration::from_secs(not_after.as_secs()))
        ))
        .fix(RENEW),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            bad("it is not valid yet, or this machine's clock is slow".to_owned())
                .fix("clock: timedatectl set-ntp true")
        }
        CertificateError::NotValidForName => {
            bad(format!("it is not valid for {name}")).fix(another(&name))
        }
        CertificateError::NotValidForNameContext { presented, .. } => bad(format!(
            "it is not valid for {name}, but for {}",
            names(presented)
        ))
        .fix(another(&name)),
        // `BadSignature` means another issuer of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => bad(
            "it is not issued by a trusted authority, or intermediate certificates are missing"
                .to_owned(),
        )
        .fix("nginx: ssl_certificate .../fullchain.pem; (not cert.pem)")
        .fix("fanfare doctor: --ca FILE, if the certificates are your own"),
        // A certificate with the defaults of `openssl req -x509`. The library has no variant for this error.
        CertificateError::Other(why) if why.to_string() == "CaUsedAsEndEntity" => {
            bad("it is a CA certificate (CA:TRUE), which is not accepted from a server".to_owned())
                .fix("openssl: openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE")
        }
        other => bad(format!("it is refused: {other}"))
            .fix("nginx: ssl_certificate of a public authority, or one that --ca FILE trusts"),
    }
}

fn another(name: &str) -> String {
    format!(
        "certbot: certbot --nginx -d {name}; nginx: server_name {name}; in the block with its ssl_certificate"
    )
}

/// Returns the names of a certificate, without the types that rustls writes around them.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| match name.split_once('(') {
        Some((_kind, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn no_tls(why: &str) -> Finding {
    Finding::bad("certificate", format!("the TLS handshake fails: {why}"))
        .fix("nginx: listen 443 ssl; or URL: http:// if TLS is not intended")
}

/// Returns the date of a time since 1970.
fn date(time: Duration) -> String {
    let mut utc = format::utc(time.as_millis() as u64);
    utc.truncate("2026-11-25".len());
    utc
}
