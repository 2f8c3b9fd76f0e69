//! Texts to values; the error of each is what would have been allowed.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use crate::protocol::BasePath;
use crate::protocol::has_bom;
use crate::server::auth::{Anonymous, KeyFileError, KeySet, Origin, ProxyHeader, PublicHost};
use crate::server::config::LogFormat;
use crate::server::files::Files;
use crate::server::small_file;

/// What is allowed as a file of keys, certificates or credentials.
const READABLE: &str = "a file that exists, can be read, and has at most 1 MiB";

/// Splits `text` where its digits end.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

/// Reads a time with its unit.
///
/// # Errors
/// What is allowed.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const ALLOWED: &str = "a time from 1ms to 365d, like 500ms, 25s, 5m, 2h or 7d";
    let (number, unit) = number_and_unit(text).ok_or(ALLOWED)?;
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(ALLOWED),
    };
    let longest = 365 * 86_400_000;
    let millis = number
        .checked_mul(millis_each)
        .filter(|millis| (1..=longest).contains(millis))
        .ok_or(ALLOWED)?;
    Ok(Duration::from_millis(millis))
}

pub(super) fn size(text: &str) -> Result<usize, &'static str> {
    bytes(text)
        .filter(|bytes| (1 << 10..=1 << 30).contains(bytes))
        .ok_or("a size from 1KiB to 1GiB, like 65536, 64KiB or 1MiB")
}

/// A size as machines have it.
pub(super) fn memory(text: &str) -> Result<usize, &'static str> {
    bytes(text)
        .filter(|bytes| (1 << 20..=1 << 40).contains(bytes))
        .ok_or("a size from 1MiB to 1024GiB, like 512MiB or 1GiB")
}

fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let each = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(each)?).ok()
}

pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|count| (1..=100_000_000).contains(count))
        .ok_or("a number from 1 to 100000000")
}

pub(super) fn rate(text: &str) -> Result<u32, &'static str> {
    text.strip_suffix("/s")
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|rate| *rate <= 1_000_000)
        .ok_or("a number a second from 0 to 1000000, like 20/s; 0 is unlimited")
}

/// A number of events a day.
pub(super) fn daily_rate(text: &str) -> Result<u32, &'static str> {
    text.strip_suffix("/d")
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|rate| *rate <= 1_000_000)
        .ok_or("a number a day from 0 to 1000000, like 500/d; 0 is unlimited")
}

pub(super) fn burst(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|burst| (1..=1_000_000).contains(burst))
        .ok_or("a number from 1 to 1000000")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "an IP address and a port, like 127.0.0.1:12345 or [::1]:12345")
}

pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    if text == "off" {
        return Ok(None);
    }
    address(text)
        .map(Some)
        .map_err(|_| "'off', or an IP address and a port, like 127.0.0.1:12346")
}

/// Reads the name of a folder with the page's files.
pub(super) fn site(text: &str) -> Result<Files, &'static str> {
    let folder = PathBuf::from(text);
    if folder.is_dir() {
        Ok(Files::Folder(folder))
    } else {
        Err("a folder that exists")
    }
}

pub(super) fn folder(text: &str) -> Result<PathBuf, &'static str> {
    let folder = PathBuf::from(text);
    if folder.exists() && !folder.is_dir() {
        Err("a folder, or the name of one to be made")
    } else {
        Ok(folder)
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("'yes' or 'no'"),
    }
}

pub(super) fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("'on' or 'off'"),
    }
}

/// What `--allow-origin` and `--allow-embed` name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AllowedOrigin {
    Any,
    Null,
    Listed(Origin),
}

impl AllowedOrigin {
    pub(super) fn listed(self) -> Option<Origin> {
        match self {
            Self::Listed(origin) => Some(origin),
            Self::Any | Self::Null => None,
        }
    }
}

pub(super) fn origin(text: &str) -> Result<AllowedOrigin, &'static str> {
    match text {
        "any" => Ok(AllowedOrigin::Any),
        "null" => Ok(AllowedOrigin::Null),
        _ => Origin::parse(text)
            .map(AllowedOrigin::Listed)
            .map_err(|_| {
                "'any', 'null', or an origin like https://example.org or capacitor://localhost (SCHEME://HOST[:PORT], no path)"
            }),
    }
}

pub(super) fn frame_ancestor(text: &str) -> Result<AllowedOrigin, &'static str> {
    match text {
        "any" => Ok(AllowedOrigin::Any),
        _ => Origin::parse(text)
            .ok()
            .filter(|origin| !origin.authority().is_ipv6())
            .map(AllowedOrigin::Listed)
            .ok_or(
                "'any', or an origin like https://example.org (no path, and no address of IPv6)",
            ),
    }
}

pub(super) fn public_host(text: &str) -> Result<PublicHost, &'static str> {
    PublicHost::parse(text)
        .ok_or("a host like chat.example.org, chat.example.org:8080 or https://chat.example.org")
}

pub(super) fn base_path(text: &str) -> Result<BasePath, &'static str> {
    BasePath::parse(text).map_err(
        |_| "/ for none, or a path like /chat, of letters, digits and - . _ ~ between slashes",
    )
}

/// A network, or one address as a network of its own.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "an address or a network, like 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32")
}

pub(super) fn proxy_header(text: &str) -> Result<ProxyHeader, &'static str> {
    match text {
        "either" => Ok(ProxyHeader::Either),
        "x-forwarded-for" => Ok(ProxyHeader::XForwardedFor),
        "forwarded" => Ok(ProxyHeader::Forwarded),
        _ => Err("'either', 'x-forwarded-for' or 'forwarded'"),
    }
}

/// Reads the name of a file with keys or certificates in PEM, or with credentials.
pub(super) fn file(text: &str) -> Result<PathBuf, &'static str> {
    let file = PathBuf::from(text);
    let kind = std::fs::metadata(&file).map_err(|_| READABLE)?.file_type();

    // A pipe has no start that could be looked at without taking it.
    if kind.is_file() {
        let bytes = small_file::read(&file, small_file::MAX_BYTES).map_err(|_| READABLE)?;
        if has_bom(&bytes) {
            return Err(KeyFileError::ByteOrderMark.allowed());
        }
    } else if !kind.is_fifo() {
        return Err(READABLE);
    }
    Ok(file)
}

/// Reads the name of a key file, and the keys in it.
pub(super) fn key_file(text: &str) -> Result<(PathBuf, KeySet), &'static str> {
    let file = PathBuf::from(text);
    let bytes = small_file::read(&file, small_file::MAX_BYTES).map_err(|_| READABLE)?;
    let keys = KeySet::parse(&bytes).map_err(KeyFileError::allowed)?;
    Ok((file, keys))
}

pub(super) fn anonymous(text: &str) -> Result<Anonymous, &'static str> {
    match text {
        "none" => Ok(Anonymous::None),
        "read" => Ok(Anonymous::Read),
        _ => Err("'none' or 'read'"),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("'pretty' or 'json'"),
    }
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, &'static str> {
    Ok(match text {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return Err("'error', 'warn', 'info', 'debug' or 'trace'"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(
            (size("65536"), size("64KiB"), size("1MiB")),
            (Ok(65536), Ok(65536), Ok(1 << 20))
        );
        assert_eq!(
            (memory("512MiB"), memory("16GiB")),
            (Ok(512 << 20), Ok(16 << 30))
        );
        assert!(memory("64KiB").is_err() && memory("1025GiB").is_err());
        for wrong in [
            "",
            "s",
            "5",
            "0s",
            "-1s",
            "5 parsecs",
            "99999999999999999999s",
            "366d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "KiB", "0", "64kb", "2GiB", "1e6"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_is_an_address_with_or_without_its_size() {
        assert_eq!(network("10.0.0.7"), network("10.0.0.7/32"));
        assert_eq!(
            network("2001:db8::/32").map(|network| network.prefix_len()),
            Ok(32)
        );
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0/8", "10.0.0.7:80"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_may_say_a_second_or_not() {
        assert_eq!(
            (rate("20/s"), rate("20"), rate("0")),
            (Ok(20), Ok(20), Ok(0))
        );
        assert!(rate("20/m").is_err());
    }
}
