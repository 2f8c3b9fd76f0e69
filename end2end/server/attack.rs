//! The attackers of `hostile.rs`. They run in a separate process, at the lowest priority and at a limited rate, so that
//! they take as little processor time from the server as remote attackers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::rustls::version::TLS13;

use crate::raw::{handshake, masked};
use crate::tls_server::{Secure, secure};

const ATTACKERS: usize = 100;
/// The interval between two actions of one attacker. All attackers together act 10,000 times a second.
const PACE: Duration = Duration::from_millis(10);
/// The time for which an attacker keeps a connection open to use up a limit.
const HOLD: Duration = Duration::from_secs(3600);

const KIND_VARIABLE: &str = "ATTACK_KIND";
const TARGET_VARIABLE: &str = "ATTACK_TARGET";
const AUTHORITY_VARIABLE: &str = "ATTACK_AUTHORITY";

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttackKind {
    /// Begin requests and do not finish them.
    HalfRequests,
    /// Send pings and read no pongs.
    Pings,
    /// Send empty fragments of a message.
    EmptyFragments,
    /// Begin messages and do not finish them.
    UnfinishedMessages,
    /// Send a message one byte a second.
    OneByteASecond,
    /// Send frames without a mask.
    UnmaskedFrames,
    /// Declare messages of 2^63 bytes.
    HugeLengths,
    /// Join and leave.
    Joins,
    /// Begin TLS handshakes and do not finish them.
    HalfHandshakes,
    /// Begin TLS records and do not finish them.
    HalfRecords,
}

/// A server under attack.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The file of the authority that the server's certificate is from, if it has TLS.
    pub(crate) authority: Option<PathBuf>,
}

/// A connection of an attacker.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl AttackKind {
    const ALL: [Self; 10] = [
        Self::HalfRequests,
        Self::Pings,
        Self::EmptyFragments,
        Self::UnfinishedMessages,
        Self::OneByteASecond,
        Self::UnmaskedFrames,
        Self::HugeLengths,
        Self::Joins,
        Self::HalfHandshakes,
        Self::HalfRecords,
    ];
}

/// A process of a hundred attackers; it is killed when it is dropped.
pub(crate) struct Attack(Child);

impl Attack {
    pub(crate) fn start(kind: AttackKind, target: &Target) -> Self {
        let authority = target.authority.as_deref().unwrap_or(Path::new(""));
        let child = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe().expect("a path"))
            .args(["attack::the_attackers_process", "--exact", "--ignored"])
            .env(KIND_VARIABLE, format!("{kind:?}"))
            .env(TARGET_VARIABLE, target.address.to_string())
            .env(AUTHORITY_VARIABLE, authority)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");

        Self(child)
    }

    /// Returns true if the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // Errors mean that the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that [`Attack::start`] runs. It is a test, so that no separate program has to be built.
#[tokio::test]
#[ignore = "the other process of the tests in hostile.rs"]
async fn the_attackers_process() {
    let variable = |name| std::env::var(name).expect("set by the test that starts this");
    let kind = AttackKind::ALL
        .into_iter()
        .find(|kind| format!("{kind:?}") == variable(KIND_VARIABLE))
        .expect("a kind");

    let authority = variable(AUTHORITY_VARIABLE);
    let target = Target {
        address: variable(TARGET_VARIABLE).parse().expect("an address"),
        authority: (!authority.is_empty()).then(|| authority.into()),
    };
    let attackers = (0..ATTACKERS).map(|number| attack(kind, &target, number));
    futures::future::join_all(attackers).await;
}

/// Attacks forever.
async fn attack(kind: AttackKind, target: &Target, number: usize) {
    // Attackers start at different times, so that their actions are spread evenly.
    tokio::time::sleep(PACE.mul_f64(number as f64 / ATTACKERS as f64)).await;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        pace.tick().await;
        // An error means that the server refused or closed the connection; the next one is opened then.
        let _ = attack_once(kind, target, &mut pace).await;
    }
}

/// Attacks over one connection. The pauses are part of the attack.
async fn attack_once(
    kind: AttackKind,
    target: &Target,
    pace: &mut Interval,
) -> std::io::Result<()> {
    match kind {
        AttackKind::HalfRequests => {
            let mut stream = connect(target).await?;
            stream
                .write_all(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
                .await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        AttackKind::Pings => flood(target, &masked(0x89, &[0; 125]).repeat(100), pace).await?,
        AttackKind::EmptyFragments => {
            let pieces = [masked(0x01, b""), masked(0x00, b"").repeat(2000)].concat();
            flood(target, &pieces, pace).await?;
        }
        AttackKind::UnfinishedMessages => {
            let mut stream = join(target).await?;
            stream
                .write_all(&[masked(0x01, &[b'x'; 60_000]), masked(0x00, b"and")].concat())
                .await?;
            tokio::time::sleep(HOLD).await;
        }
        AttackKind::OneByteASecond => {
            let mut stream = join(target).await?;
            for byte in masked(0x81, &[b'x'; 60_000]) {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        AttackKind::UnmaskedFrames => flood(target, &b"\x81\x05hello".repeat(1000), pace).await?,
        AttackKind::HugeLengths => {
            let mut stream = join(target).await?;
            let declared = [
                0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5,
            ];
            stream.write_all(&declared).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
        AttackKind::Joins => drop(join(target).await?),
        AttackKind::HalfHandshakes => {
            let mut stream = TcpStream::connect(target.address).await?;
            let begun = [&[22, 3, 1, 0x3F, 0xFF, 1, 0, 0x3F, 0xFB][..], &[3; 10_000]].concat();
            stream.write_all(&begun).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        AttackKind::HalfRecords => {
            let mut stream = join_securely(target).await?;
            let begun = [&[23, 3, 3, 0x40, 0][..], &[7; 16_000]].concat();
            stream.get_mut().0.write_all(&begun).await?;
            tokio::time::sleep(HOLD).await;
        }
    }

    Ok(())
}

/// Sends `bytes` at every tick until the server closes the connection, and reads nothing.
async fn flood(target: &Target, bytes: &[u8], pace: &mut Interval) -> std::io::Result<()> {
    let mut stream = join(target).await?;
    loop {
        stream.write_all(bytes).await?;
        pace.tick().await;
    }
}

/// Connects to the server.
async fn connect(target: &Target) -> std::io::Result<Box<dyn Stream>> {
    if target.authority.is_some() {
        return Ok(Box::new(connect_securely(target).await?));
    }
    Ok(Box::new(TcpStream::connect(target.address).await?))
}

/// Connects to the server with TLS.
async fn connect_securely(target: &Target) -> std::io::Result<Secure> {
    let authority = target.authority.as_deref().expect("a server with TLS");
    let stream = TcpStream::connect(target.address).await?;
    secure(stream, target.address, authority, &[&TLS13]).await
}

/// Opens a WebSocket in the room of the attackers.
async fn join(target: &Target) -> std::io::Result<Box<dyn Stream>> {
    let stream = connect(target).await?;
    join_over(stream, target).await
}

/// Opens a WebSocket with TLS in the room of the attackers.
async fn join_securely(target: &Target) -> std::io::Result<Secure> {
    let stream = connect_securely(target).await?;
    join_over(stream, target).await
}

async fn join_over<S: Stream>(mut stream: S, target: &Target) -> std::io::Result<S> {
    stream
        .write_all(handshake(target.address, "id=eve&room=lobby", None).as_bytes())
        .await?;
    stream.flush().await?;

    let mut answer = [0; 512];
    let length = stream.read(&mut answer).await?;

    if answer[..length].starts_with(b"HTTP/1.1 101 ") {
        Ok(stream)
    } else {
        Err(std::io::ErrorKind::ConnectionRefused.into())
    }
}
