//! The check of the server's certificate: issuer, name and expiry.

use std::io;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, Error};

use super::report::{Finding, bad, good, note};
use super::visit::in_time;
use crate::cli::client::{ClientTls, tls_reason};
use crate::cli::format;

const DAY_SECONDS: u64 = 86_400;
/// The remaining lifetime at which a renewal is overdue: automatic renewals happen 30 days before expiry.
const SOON: Duration = Duration::from_secs(14 * DAY_SECONDS);
/// A duration longer than the lifetime of any certificate.
const AGES: Duration = Duration::from_secs(1000 * 365 * DAY_SECONDS);

const RENEW: &str = "certbot: certbot renew, then nginx -s reload or systemctl reload fanfare (Caddy renews by itself: see its log)";

/// Performs the TLS handshake with the server `name` on `stream`, and checks its certificate.
///
/// # Errors
/// The finding, if the handshake fails and no other check is possible.
pub(super) async fn check(
    tls: &ClientTls,
    name: &ServerName<'static>,
    stream: TcpStream,
) -> Result<Finding, Finding> {
    let secured = in_time(tls.secure(stream, name.clone())).await;
    let stream =
        secured.map_err(
            |error| match error.downcast_ref::<io::Error>().and_then(tls_reason) {
                Some(reason) => refused(name, reason),
                None => no_tls(&error.to_string()),
            },
        )?;

    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // The expiry is determined by checking the certificate at later times.
    let ends = |later: Duration| {
        let then = UnixTime::since_unix_epoch(now + later);
        match tls.check(chain, name, then) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => Some(not_after),
            _ => None,
        }
    };
    let left = |end: UnixTime| {
        let left = Duration::from_secs(end.as_secs()).saturating_sub(now);
        left.as_secs() / DAY_SECONDS
    };

    let host = name.to_str();
    match (ends(SOON), ends(AGES)) {
        (Some(end), _) => {
            let (days, end) = (left(end), date(end));
            Ok(note(format!("it expires in {days} days, on {end}")).fix(RENEW))
        }
        (None, Some(end)) => {
            let (days, end) = (left(end), date(end));
            Ok(good(format!(
                "good for {host} for {days} days, until {end}"
            )))
        }
        (None, None) => Ok(good(format!("good for {host}"))),
    }
}

/// Returns the finding for a handshake that failed for `reason`.
fn refused(name: &ServerName<'_>, reason: &Error) -> Finding {
    let name = name.to_str();
    let wrong_name = |seen: String| {
        bad(seen).fix(format!(
            "certbot: certbot --nginx -d {name}; nginx: server_name {name}; in the block with its ssl_certificate"
        ))
    };
    let Error::InvalidCertificate(wrong) = reason else {
        return no_tls(&reason.to_string());
    };

    match wrong {
        CertificateError::Expired => bad("it has expired").fix(RENEW),
        CertificateError::ExpiredContext { not_after, .. } => {
            bad(format!("it expired on {}", date(*not_after))).fix(RENEW)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            bad("it is not valid yet, or this machine's clock is slow")
                .fix("clock: timedatectl set-ntp true")
        }
        CertificateError::NotValidForName => wrong_name(format!("it is not valid for {name}")),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let presented = names(presented);
            wrong_name(format!("it is not valid for {name}, but for {presented}"))
        }
        // `BadSignature` means another issuer of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            bad("it is not issued by a trusted authority, or intermediate certificates are missing")
                .fix("nginx: ssl_certificate .../fullchain.pem; (not cert.pem)")
                .fix("fanfare doctor: --ca FILE, if the certificates are your own")
        }
        // A certificate with the defaults of `openssl req -x509`. The library has no variant for this error.
        CertificateError::Other(why) if why.to_string() == "CaUsedAsEndEntity" => {
            bad("it is a CA certificate (CA:TRUE), which is not accepted from a server")
                .fix("openssl: openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE")
        }
        other => bad(format!("it is refused: {other}"))
            .fix("nginx: ssl_certificate of a public authority, or one that --ca FILE trusts"),
    }
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
    bad(format!("the TLS handshake fails: {why}"))
        .fix("nginx: listen 443 ssl; or URL: http:// if TLS is not intended")
}

/// Returns the date of `time`.
fn date(time: UnixTime) -> String {
    let mut utc = format::utc(time.as_secs() * 1000);
    utc.truncate("2026-11-25".len());
    utc
}
