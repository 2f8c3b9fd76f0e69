//! The check of the allowed origins: the server's own pages may connect, other sites may not.

use hyper::StatusCode;
use hyper::header::{HeaderValue, ORIGIN};

use super::report::{Finding, bad, describe, good, note};
use super::visit::Visit;
use super::websocket::{HandshakeError, open};

/// An origin that cannot exist (RFC 6761 section 6.4).
const FOREIGN: HeaderValue = HeaderValue::from_static("https://fanfare-doctor.invalid");

/// Connects with the origin of the server's own page.
pub(super) async fn own(visit: &Visit) -> Result<Finding, Finding> {
    let origin = visit.server.url().origin();
    let header = HeaderValue::try_from(&origin).map_err(anyhow::Error::from)?;

    match open(visit, &visit.room, &[(ORIGIN, header)]).await {
        Ok(_socket) => Ok(good(format!("the page at {origin} may connect"))),
        Err(HandshakeError::Http(answer)) if answer.status == StatusCode::FORBIDDEN => {
            Err(bad(format!(
                "its own page at {origin} may not connect: {}",
                describe(&answer)
            ))
            .fix("nginx: proxy_set_header Host $http_host;")
            .fix(format!("fanfare: --public-host {origin}")))
        }
        Err(why) => Err(bad(format!("the page at {origin} cannot connect: {why}"))),
    }
}

/// Connects with the origin of another site.
pub(super) async fn foreign(visit: &Visit) -> Result<Finding, Finding> {
    match open(visit, &visit.room, &[(ORIGIN, FOREIGN)]).await {
        Ok(_socket) => Err(note("pages of every site may connect")
            .fix("fanfare: --allow-origin https://NAME for each allowed site, instead of any")
            .fix("nginx or Caddy: forward the Origin header unchanged")),
        Err(HandshakeError::Http(answer)) if answer.status == StatusCode::FORBIDDEN => {
            Ok(good("pages of other sites may not connect"))
        }
        Err(why) => Err(anyhow::Error::from(why).into()),
    }
}
