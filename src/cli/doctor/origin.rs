//! The check of the allowed origins: the server's own pages may connect, other sites may not.

use hyper::StatusCode;
use hyper::header::{HeaderValue, ORIGIN};

use super::finding::Finding;
use super::visit::{Visit, describe};
use super::websocket::{Refused, open};

/// An origin that cannot exist (RFC 6761 section 6.4).
const FOREIGN: HeaderValue = HeaderValue::from_static("https://fanfare-doctor.invalid");

/// Connects with the origin of the server's own page, and with that of another site.
pub(super) async fn check(visit: &Visit) -> [Finding; 2] {
    [own(visit).await, foreign(visit).await]
}

async fn own(visit: &Visit) -> Finding {
    let url = visit.server.url();
    let origin = url.origin();
    let Ok(header) = HeaderValue::try_from(&origin) else {
        return Finding::bad("origin", format!("{origin} is not a valid origin"));
    };

    match open(visit, &visit.room, &[(ORIGIN, header)]).await {
        Ok(_socket) => Finding::good("origin", format!("the page at {origin} may connect")),
        Err(Refused::Http(StatusCode::FORBIDDEN, body)) => Finding::bad(
            "origin",
            format!(
                "its own page at {origin} may not connect: {}",
                describe(StatusCode::FORBIDDEN, &body)
            ),
        )
        .fix("nginx: proxy_set_header Host $http_host;")
        .fix(format!("fanfare: --public-host {origin}")),
        Err(why) => Finding::bad(
            "origin",
            format!("the page at {origin} cannot connect: {}", sentence(&why)),
        ),
    }
}

async fn foreign(visit: &Visit) -> Finding {
    match open(visit, &visit.room, &[(ORIGIN, FOREIGN)]).await {
        Err(Refused::Http(StatusCode::FORBIDDEN, _)) => {
            Finding::good("foreign page", "pages of other sites may not connect")
        }
        Ok(_socket) => Finding::note("foreign page", "pages of every site may connect")
            .fix("fanfare: --allow-origin https://NAME for each allowed site, instead of any")
            .fix("nginx or Caddy: forward the Origin header unchanged"),
        Err(why) => Finding::note("foreign page", format!("unknown: {}", sentence(&why))),
    }
}

fn sentence(why: &Refused) -> String {
    match why {
        Refused::Http(status, body) => describe(*status, body),
        Refused::Subprotocol => "Sec-WebSocket-Protocol is lost on the way".to_owned(),
        Refused::Other(why) => why.clone(),
    }
}
