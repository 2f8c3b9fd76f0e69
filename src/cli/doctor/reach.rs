//! The checks that a Fanfare responds: name, port, TLS and HTTP.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::Body;
use hyper::header::{SERVER, VIA};
use hyper::{HeaderMap, Request, StatusCode};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::certificate;
use super::finding::Finding;
use super::report::DoctorReport;
use super::visit::{ANSWER_TIMEOUT, Answer, Visit, ask, read};

/// The machines and the proxy on the way to the server.
#[derive(Clone, Debug)]
pub(super) struct ProxyInfo {
    /// The address of this machine on the connection.
    pub(super) own: IpAddr,
    /// The address of the server or the proxy.
    pub(super) peer: IpAddr,
    /// The name of a proxy, from a header. Fanfare sends no header with its own name.
    pub(super) proxy: Option<String>,
}

impl ProxyInfo {
    /// Reports whether the server is on this machine without a visible proxy.
    pub(super) fn is_bare(&self) -> bool {
        self.peer.is_loopback() && self.proxy.is_none()
    }
}

/// Runs the checks. Returns `None` if no Fanfare responds.
pub(super) async fn check(visit: &Visit, report: &mut DoctorReport) -> Option<ProxyInfo> {
    let server = &visit.server;
    let address = server.url().socket_address();
    let began = Instant::now();
    let addresses: Vec<SocketAddr> = match timeout(ANSWER_TIMEOUT, lookup_host(&address)).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            report.add(&Finding::bad("name", format!("{address} cannot be resolved: {error}")).fix(
                "DNS: an A or AAAA record for this name that leads to the server, or check the spelling",
            ));
            return None;
        }
        Err(_elapsed) => {
            let seen = format!(
                "no DNS answer for {address} within {} s",
                ANSWER_TIMEOUT.as_secs()
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
        format!("{address} resolves to {shown} in {:.0?}", began.elapsed()),
    ));

    let began = Instant::now();
    let connecting = timeout(ANSWER_TIMEOUT, TcpStream::connect(&addresses[..])).await;
    let stream = match connecting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => {
            let seen = format!("no server accepts connections at {address}: {error}");
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
    let own = stream.local_addr().ok()?.ip();
    let peer = stream.peer_addr().ok()?.ip();

    let safety = match server.tls() {
        Some(tls) => certificate::check(tls, server.url().name(), stream).await,
        None if peer.is_loopback() => Ok(None),
        None => Ok(Some(
            Finding::note(
                "certificate",
                "without TLS, messages and tokens can be read and changed on the way",
            )
            .fix("nginx or Caddy: terminate TLS, as in deploy/nginx.conf or deploy/Caddyfile")
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
    is_there.then_some(ProxyInfo {
        own,
        peer,
        proxy: proxy.flatten(),
    })
}

/// Checks that a Fanfare responds. If so, returns the name of a proxy in front of it too.
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
                .fix("URL: check the port; use https:// if the server uses TLS");
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

/// Returns the finding for the unexpected response `answer`.
fn stranger(visit: &Visit, answer: &Answer) -> Finding {
    let url = visit.server.url();

    match answer.error() {
        Some(error) if error.code == "misdirected" => Finding::bad(
            "fanfare",
            format!("the server rejects this host name: {}", error.message),
        )
        .fix("nginx: proxy_set_header Host $http_host;")
        .fix(format!("fanfare: --public-host {}", url.origin())),
        Some(error) if error.code == "not_found" => {
            Finding::bad("fanfare", "this is the ops listener of a Fanfare, not the public one")
                .fix("URL: that of --listen (port 12345); the ops listener is --ops URL")
        }
        Some(_) => Finding::bad("fanfare", answer.describe()),
        None if answer.status.is_server_error() => Finding::bad(
            "fanfare",
            format!("the proxy does not reach Fanfare: {}", answer.status),
        )
        .fix("fanfare: check that it runs at the address in the proxy; nginx: proxy_pass http://127.0.0.1:12345;")
        .fix("Caddy: reverse_proxy 127.0.0.1:12345"),
        None => Finding::bad("fanfare", format!("the server is not a Fanfare: {}", answer.status))
            .fix("URL: check the address; use https:// if the server uses TLS; a proxy must forward all of /"),
    }
}

/// Returns the name of a proxy in `headers`.
fn proxy(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(VIA).or_else(|| headers.get(SERVER))?;
    Some(String::from_utf8_lossy(said.as_bytes()).into_owned())
}
