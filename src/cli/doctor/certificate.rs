//! Whether TLS is well: who vouches for the server, for which name, and until when.

use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, Error};

use super::finding::Finding;
use super::visit::ANSWER_WITHIN;
use crate::cli::client::{Tls, tls_reason};
use crate::cli::text;

const DAY: Duration = Duration::from_secs(86_400);
/// A certificate that ends sooner was not renewed when it should have been: automatic ones are at 30 days.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// Longer than any certificate lasts.
const AGES: Duration = Duration::from_secs(1000 * 365 * 86_400);

const RENEW: &str = "certbot: certbot renew, then nginx -s reload or systemctl reload fanfare (Caddy renews by itself: see its log)";

/// Speaks TLS over `stream` with the server `name`.
///
/// # Errors
/// If it cannot be done, so that nothing more can be asked.
pub(super) async fn check(
    tls: &Tls,
    name: &ServerName<'static>,
    stream: TcpStream,
) -> Result<Option<Finding>, Finding> {
    let stream = match timeout(ANSWER_WITHIN, tls.secure(stream, name.clone())).await {
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
                ANSWER_WITHIN.as_secs()
            )));
        }
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // The check itself knows when it will begin to fail: it is asked about later days.
    let ends = |later| match tls.check(chain, name, UnixTime::since_unix_epoch(now + later)) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    };
    let left = |end: Duration| end.saturating_sub(now).as_secs() / DAY.as_secs();
    Ok(Some(match (ends(SOON), ends(AGES)) {
        (Some(end), _) => {
            let seen = format!("it ends in {} days, on {}", left(end), date(end));
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

/// What it means that a handshake failed for `reason`.
fn refused(name: &ServerName<'_>, reason: &Error) -> Finding {
    let name = name.to_str();
    let bad = |seen: String| Finding::bad("certificate", seen);
    let Error::InvalidCertificate(wrong) = reason else {
        return no_tls(&reason.to_string());
    };
    match wrong {
        CertificateError::Expired => bad("it has ended".to_owned()).fix(RENEW),
        CertificateError::ExpiredContext { not_after, .. } => bad(format!(
            "it ended on {}",
            date(Duration::from_secs(not_after.as_secs()))
        ))
        .fix(RENEW),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            bad("it has not begun yet; or this machine's clock is slow".to_owned())
                .fix("clock: timedatectl set-ntp true")
        }
        CertificateError::NotValidForName => {
            bad(format!("it is not for {name}")).fix(another(&name))
        }
        CertificateError::NotValidForNameContext { presented, .. } => bad(format!(
            "it is not for {name}, but for {}",
            names(presented)
        ))
        .fix(another(&name)),
        // The second: another authority of the same name vouches for it.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => bad(
            "nobody whom this machine trusts vouches for it, or those between are missing"
                .to_owned(),
        )
        .fix("nginx: ssl_certificate .../fullchain.pem; (not cert.pem)")
        .fix("fanfare doctor: --ca FILE, if the certificates are your own"),
        // What `openssl req -x509` makes by itself. The library has no other name for it.
        CertificateError::Other(why) if why.to_string() == "CaUsedAsEndEntity" => bad(
            "it is an authority's own (CA:TRUE), which this program does not take from a server"
                .to_owned(),
        )
        .fix("openssl: openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE"),
        other => bad(format!("it is refused: {other}"))
            .fix("nginx: ssl_certificate of a public authority, or one that --ca FILE vouches for"),
    }
}

fn another(name: &str) -> String {
    format!(
        "certbot: certbot --nginx -d {name}; nginx: server_name {name}; in the block with its ssl_certificate"
    )
}

/// The names in a certificate, without the kinds that rustls writes around them.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| match name.split_once('(') {
        Some((_kind, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn no_tls(why: &str) -> Finding {
    Finding::bad("certificate", format!("TLS is not spoken here: {why}"))
        .fix("nginx: listen 443 ssl; or URL: http:// if it is meant to be without")
}

/// A time since 1970 as a day.
fn date(time: Duration) -> String {
    let mut utc = text::utc(time.as_millis() as u64);
    utc.truncate("2026-11-25".len());
    utc
}
