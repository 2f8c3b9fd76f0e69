//! The checks that a Fanfare responds: name, port, TLS and HTTP.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::body::Body;
use hyper::header::{SERVER, VIA};
use hyper::{Request, StatusCode};
use tokio::net::{TcpStream, lookup_host};

use super::certificate;
use super::report::{DoctorReport, Finding, bad, describe, good, note};
use super::visit::{Visit, in_time};
use crate::cli::client::HttpResponse;

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
    /// Returns true if the server is on this machine without a visible proxy.
    pub(super) fn is_bare(&self) -> bool {
        self.peer.is_loopback() && self.proxy.is_none()
    }
}

/// Runs the checks. Returns `None` if no Fanfare responds.
pub(super) async fn check(visit: &Visit, report: &mut DoctorReport) -> Option<ProxyInfo> {
    let server = &visit.server;
    let address = server.url().socket_address();

    let addresses = report.step("name", resolve(&address).await)?;
    let stream = report.step("port", connect(&address, &addresses).await)?;
    let own = stream.local_addr().ok()?.ip();
    let peer = stream.peer_addr().ok()?.ip();

    if let Some(tls) = server.tls() {
        let checked = certificate::check(tls, server.url().name(), stream).await;
        report.step("certificate", checked.map(|finding| (finding, ())))?;
    } else if !peer.is_loopback() {
        let finding = note("without TLS, messages and tokens can be read and changed on the way")
            .fix("nginx or Caddy: terminate TLS, as in deploy/nginx.conf or deploy/Caddyfile")
            .fix("fanfare: or --tls-cert FILE --tls-key FILE");
        report.add("certificate", Ok(finding));
    }

    let proxy = report.step("fanfare", identity(visit).await)?;
    Some(ProxyInfo { own, peer, proxy })
}

async fn resolve(address: &str) -> Result<(Finding, Vec<SocketAddr>), Finding> {
    let began = Instant::now();
    let resolved = in_time(lookup_host(address)).await.map_err(|error| {
        bad(format!("{address} cannot be resolved: {error:#}"))
            .fix("DNS: an A or AAAA record for this name that leads to the server, or check the spelling")
            .fix("DNS: if there is no answer, check the resolver of this machine")
    })?;

    let addresses: Vec<SocketAddr> = resolved.collect();
    let shown: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    let shown = shown.join(", ");
    let seen = format!("{address} resolves to {shown} in {:.0?}", began.elapsed());
    Ok((good(seen), addresses))
}

async fn connect(address: &str, addresses: &[SocketAddr]) -> Result<(Finding, TcpStream), Finding> {
    let began = Instant::now();
    let connected = in_time(TcpStream::connect(addresses)).await;
    let stream = connected.map_err(|error| {
        bad(format!(
            "no server accepts connections at {address}: {error:#}"
        ))
        .fix("fanfare: systemctl start fanfare, or fanfare --listen ADDRESS:PORT")
        .fix("firewall: open the port")
    })?;

    let seen = format!("connected in {:.1?}", began.elapsed());
    Ok((good(seen), stream))
}

/// Checks that a Fanfare responds. If so, returns the name of a proxy in front of it too.
async fn identity(visit: &Visit) -> Result<(Finding, Option<String>), Finding> {
    let began = Instant::now();
    let request = Request::get("/api/v1/openapi.json")
        .body(Body::empty())
        .map_err(anyhow::Error::from)?;
    let response = visit.send(request).await.map_err(|error| {
        bad(format!("{error:#}")).fix("URL: check the port; use https:// if the server uses TLS")
    })?;

    let headers = response.headers();
    let proxy = headers.get(VIA).or_else(|| headers.get(SERVER));
    let proxy = proxy.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    let answer = in_time(HttpResponse::read(response)).await;
    let answer = answer.map_err(|error| bad(format!("{error:#}")))?;
    if answer.status != StatusCode::OK || answer.json()["info"]["title"] != "Fanfare" {
        return Err(unexpected_answer(visit, &answer));
    }

    let by = proxy
        .as_ref()
        .map_or_else(String::new, |proxy| format!(", through {proxy}"));
    let seen = format!("a Fanfare answers in {:.1?}{by}", began.elapsed());
    Ok((good(seen), proxy))
}

/// Returns the finding for the unexpected response `answer`.
fn unexpected_answer(visit: &Visit, answer: &HttpResponse) -> Finding {
    let status = answer.status;

    match answer.error() {
        Some(error) if error.code == "misdirected" => bad(format!(
            "the server rejects this host name: {}",
            error.message
        ))
        .fix("nginx: proxy_set_header Host $http_host;")
        .fix(format!("fanfare: --public-host {}", visit.server.url().origin())),
        Some(error) if error.code == "not_found" => {
            bad("this is the ops listener of a Fanfare, not the public one")
                .fix("URL: that of --listen (port 12345); the ops listener is --ops URL")
        }
        Some(_) => bad(describe(answer)),
        None if status.is_server_error() => bad(format!("the proxy does not reach Fanfare: {status}"))
            .fix("fanfare: check that it runs at the address in the proxy; nginx: proxy_pass http://127.0.0.1:12345;")
            .fix("Caddy: reverse_proxy 127.0.0.1:12345"),
        None => bad(format!("the server is not a Fanfare: {status}"))
            .fix("URL: check the address; use https:// if the server uses TLS; a proxy must forward all of /"),
    }
}
