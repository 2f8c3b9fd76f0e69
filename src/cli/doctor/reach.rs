//! Whether anybody is there: name, port, HTTP, and whether it is a Fanfare.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::Body;
use hyper::header::{SERVER, VIA};
use hyper::{HeaderMap, Request, StatusCode};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::certificate;
use super::finding::Finding;
use super::report::Report;
use super::visit::{ANSWER_WITHIN, Answer, Visit, ask, read};

/// What stands at the address.
#[derive(Clone, Debug)]
pub(super) struct Front {
    /// This machine's own address on the way there.
    pub(super) own: IpAddr,
    /// The address that answers.
    pub(super) peer: IpAddr,
    /// What a proxy calls itself, if it does: a Fanfare names itself in no header.
    pub(super) proxy: Option<String>,
}

impl Front {
    /// Whether the server is on this machine, and nothing shows itself in front of it.
    pub(super) fn is_bare(&self) -> bool {
        self.peer.is_loopback() && self.proxy.is_none()
    }
}

/// Looks at one after the other; nothing if there is no Fanfare to look at further.
pub(super) async fn check(visit: &Visit, report: &mut Report) -> Option<Front> {
    let server = &visit.server;
    let address = server.url().socket_address();
    let began = Instant::now();
    let addresses: Vec<SocketAddr> = match timeout(ANSWER_WITHIN, lookup_host(&address)).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            report.add(&Finding::bad("name", format!("{address} is not found: {error}")).fix(
                "DNS: an A or AAAA record for this name that leads to the server, or check the spelling",
            ));
            return None;
        }
        Err(_elapsed) => {
            let seen = format!(
                "no answer about {address} within {} s",
                ANSWER_WITHIN.as_secs()
            );
            report.add(&Finding::bad("name", seen).fix("DNS: check the resolver of this machine"));
            return None;
        }
    };
    let shown = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    report.add(&Finding::good(
        "name",
        format!("{address} is {shown}, looked up in {:.0?}", began.elapsed()),
    ));

    let began = Instant::now();
    let connecting = timeout(ANSWER_WITHIN, TcpStream::connect(&addresses[..])).await;
    let stream = match connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => {
            let seen = format!("nothing takes connections at {address}: {error}");
            report.add(
                &Finding::bad("port", seen)
                    .fix("fanfare: systemctl start fanfare, or fanfare --listen ADDRESS:PORT")
                    .fix("firewall: open the port"),
            );
            return None;
        }
    };
    report.add(&Finding::good(
        "port",
        format!("connected in {:.1?}", began.elapsed()),
    ));
    let (own, peer) = (
        stream.local_addr().ok()?.ip(),
        stream.peer_addr().ok()?.ip(),
    );

    let safety = match server.tls() {
        Some(tls) => certificate::check(tls, server.url().name(), stream).await,
        None if peer.is_loopback() => Ok(None),
        None => Ok(Some(
            Finding::note(
                "certificate",
                "without TLS, words and tokens can be read and changed on the way",
            )
            .fix("nginx or Caddy: put one in front, as in deploy/nginx.conf or deploy/Caddyfile")
            .fix("fanfare: or --tls-cert FILE --tls-key FILE"),
        )),
    };
    match safety {
        Ok(finding) => report.add_all(finding),
        Err(finding) => {
            report.add(&finding);
            return None;
        }
    }
    let (finding, proxy) = identity(visit).await;
    let is_there = proxy.is_some();
    report.add(&finding);
    is_there.then_some(Front {
        own,
        peer,
        proxy: proxy.flatten(),
    })
}

/// Whether it is a Fanfare; then, what a proxy in front of it calls itself.
async fn identity(visit: &Visit) -> (Finding, Option<Option<String>>) {
    let began = Instant::now();
    let request = match Request::get("/api/v1/openapi.json").body(Body::empty()) {
        Ok(request) => request,
        Err(error) => return (Finding::bad("fanfare", error.to_string()), None),
    };
    let response = match ask(&visit.server, request).await {
        Ok(response) => response,
        Err(error) => {
            let finding = Finding::bad("fanfare", format!("{error:#}"))
                .fix("URL: is this the port of Fanfare or its proxy? https:// where it speaks TLS");
            return (finding, None);
        }
    };
    let proxy = proxy(response.headers());
    let answer = match read(response).await {
        Ok(answer) => answer,
        Err(error) => return (Finding::bad("fanfare", format!("{error:#}")), None),
    };
    if answer.status == StatusCode::OK && answer.json()["info"]["title"] == "Fanfare" {
        let by = proxy
            .as_ref()
            .map_or_else(String::new, |proxy| format!(", through {proxy}"));
        let seen = format!("a Fanfare answers in {:.1?}{by}", began.elapsed());
        return (Finding::good("fanfare", seen), Some(proxy));
    }
    (stranger(visit, &answer), None)
}

/// What it means that `answer` is not what was asked for.
fn stranger(visit: &Visit, answer: &Answer) -> Finding {
    let url = visit.server.url();
    match answer.words() {
        Some(words) if words.code == "misdirected" => Finding::bad(
            "fanfare",
            format!("it does not know the name under which it is asked: {}", words.message),
        )
        .fix("nginx: proxy_set_header Host $http_host;")
        .fix(format!("fanfare: --public-host {}", url.origin())),
        Some(words) if words.code == "not_found" => {
            Finding::bad("fanfare", "this is the ops listener of a Fanfare, not the public one")
                .fix("URL: that of --listen (port 12345); the ops listener is --ops URL")
        }
        Some(_) => Finding::bad("fanfare", answer.told()),
        None if answer.status.is_server_error() => Finding::bad(
            "fanfare",
            format!("the proxy is there, but it does not reach Fanfare: {}", answer.status),
        )
        .fix("fanfare: is it running where the proxy asks? nginx: proxy_pass http://127.0.0.1:12345;")
        .fix("Caddy: reverse_proxy 127.0.0.1:12345"),
        None => Finding::bad("fanfare", format!("something answers that is no Fanfare: {}", answer.status))
            .fix("URL: is it that of Fanfare, with https:// where it speaks TLS? A proxy must pass on all of /"),
    }
}

/// What a proxy calls itself in `headers`.
fn proxy(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(VIA).or_else(|| headers.get(SERVER))?;
    Some(String::from_utf8_lossy(said.as_bytes()).into_owned())
}
