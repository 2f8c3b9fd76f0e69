//! Which pages may connect: the server's own, and no other unless that is meant.

use hyper::StatusCode;
use hyper::header::{HeaderValue, ORIGIN};

use super::finding::Finding;
use super::visit::{Visit, told};
use super::websocket::{Refused, open};

/// An origin that nobody has (RFC 6761 section 6.4).
const FOREIGN: HeaderValue = HeaderValue::from_static("https://fanfare-doctor.invalid");

/// Comes as each of both.
pub(super) async fn check(visit: &Visit) -> [Finding; 2] {
    [own(visit).await, foreign(visit).await]
}

async fn own(visit: &Visit) -> Finding {
    let url = visit.server.url();
    let origin = url.origin();
    let Ok(header) = HeaderValue::try_from(&origin) else {
        return Finding::bad("origin", format!("{origin} is no origin"));
    };
    match open(visit, &visit.room, &[(ORIGIN, header)]).await {
        Ok(_socket) => Finding::good("origin", format!("the page at {origin} may connect")),
        Err(Refused::Http(StatusCode::FORBIDDEN, body)) => Finding::bad(
            "origin",
            format!(
                "its own page at {origin} may not connect: {}",
                told(StatusCode::FORBIDDEN, &body)
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
        Err(Refused::Http(StatusCode::FORBIDDEN, _)) => Finding::good(
            "foreign page",
            "a page of another site may not connect in its visitor's name",
        ),
        Ok(_socket) => Finding::note(
            "foreign page",
            "pages of every site may connect, in their visitors' names",
        )
        .fix("fanfare: --allow-origin https://NAME for each site that should, in place of any")
        .fix("nginx or Caddy: pass Origin on as it comes"),
        Err(why) => Finding::note("foreign page", format!("not known: {}", sentence(&why))),
    }
}

fn sentence(why: &Refused) -> String {
    match why {
        Refused::Http(status, body) => told(*status, body),
        Refused::Subprotocol => "its dialect was not agreed".to_owned(),
        Refused::Other(why) => why.clone(),
    }
}
