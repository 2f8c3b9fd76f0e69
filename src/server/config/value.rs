//! Parsers of setting values. The error of each describes the allowed values.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, header};
use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use crate::protocol::{BasePath, has_bom};
use crate::server::auth::{KeyFileError, KeySet, Origin, ProxyHeader, PublicHost};
use crate::server::config::LogFormat;
use crate::server::small_file;

/// Description of an allowed file with keys, certificates or credentials.
const READABLE: &str = "a file that exists, can be read, and has at most 1 MiB";

/// Splits `text` after its digits.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

/// Parses a time with its unit.
///
/// # Errors
/// A description of the allowed values.
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

    let max = 365 * 86_400_000;
    let millis = number
        .checked_mul(millis_each)
        .filter(|millis| (1..=max).contains(millis))
        .ok_or(ALLOWED)?;
    Ok(Duration::from_millis(millis))
}

/// Parses a size of messages or buffers.
pub(super) fn size(text: &str) -> Result<usize, &'static str> {
    bytes(text)
        .filter(|bytes| (1 << 10..=1 << 30).contains(bytes))
        .ok_or("a size from 1KiB to 1GiB, like 65536, 64KiB or 1MiB")
}

/// Parses an amount of memory. The range is larger than that of [`size`].
pub(super) fn memory(text: &str) -> Result<usize, &'static str> {
    bytes(text)
        .filter(|bytes| (1 << 20..=1 << 40).contains(bytes))
        .ok_or("a size from 1MiB to 1024GiB, like 512MiB or 1GiB")
}

/// Parses a number of bytes with an optional unit.
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

/// Parses a number in `range`.
pub(super) fn number<T: FromStr + PartialOrd>(
    text: &str,
    range: RangeInclusive<T>,
    allowed: &'static str,
) -> Result<T, &'static str> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or(allowed)
}

/// Parses a count from 1 to 100,000,000.
pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    number(text, 1..=100_000_000, "a number from 1 to 100000000")
}

/// Parses a number per second; 0 means no limit.
pub(super) fn rate(text: &str) -> Result<u32, &'static str> {
    let allowed = "a number per second from 0 to 1000000, like 20/s; 0 is unlimited";
    number(
        text.strip_suffix("/s").unwrap_or(text),
        0..=1_000_000,
        allowed,
    )
}

/// Parses a number per day; 0 means no limit.
pub(super) fn daily_rate(text: &str) -> Result<u32, &'static str> {
    let allowed = "a number per day from 0 to 1000000, like 1000/d; 0 is unlimited";
    number(
        text.strip_suffix("/d").unwrap_or(text),
        0..=1_000_000,
        allowed,
    )
}

/// Parses the burst of a rate.
pub(super) fn burst(text: &str) -> Result<u32, &'static str> {
    number(text, 1..=1_000_000, "a number from 1 to 1000000")
}

/// Parses an IP address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "an IP address and a port, like 127.0.0.1:12345 or [::1]:12345")
}

/// Parses an IP address with a port, or `off`.
pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    if text == "off" {
        return Ok(None);
    }

    address(text)
        .map(Some)
        .map_err(|_| "'off', or an IP address and a port, like 127.0.0.1:12346")
}

/// Parses the path of a folder that exists.
pub(super) fn folder_that_exists(text: &str) -> Result<PathBuf, &'static str> {
    let folder = PathBuf::from(text);
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err("a folder that exists")
    }
}

/// Parses the path of a folder that exists or can be created.
pub(super) fn folder(text: &str) -> Result<PathBuf, &'static str> {
    let folder = PathBuf::from(text);
    if folder.exists() && !folder.is_dir() {
        Err("a folder, or a path at which one can be created")
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

/// A value of `--allow-origin` or `--allow-embed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AllowedOrigin {
    /// All origins.
    Any,
    /// `Origin: null`.
    Null,
    /// One origin.
    Listed(Origin),
}

impl AllowedOrigin {
    /// Returns the listed origin.
    pub(super) fn listed(self) -> Option<Origin> {
        match self {
            Self::Listed(origin) => Some(origin),
            Self::Any | Self::Null => None,
        }
    }
}

/// Parses a value of `--allow-origin`.
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

/// Parses a value of `--allow-embed`.
pub(super) fn frame_ancestor(text: &str) -> Result<AllowedOrigin, &'static str> {
    match text {
        "any" => Ok(AllowedOrigin::Any),
        _ => Origin::parse(text)
            .ok()
            .filter(|origin| !origin.authority().is_ipv6())
            .map(AllowedOrigin::Listed)
            .ok_or("'any', or an origin like https://example.org (no path, and no IPv6 address)"),
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

/// Parses a network. A single address counts as a network.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "an address or a network, like 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32")
}

pub(super) fn proxy_header(text: &str) -> Result<ProxyHeader, &'static str> {
    match text {
        "either" => Ok(ProxyHeader::Either),
        "x-forwarded-for" => Ok(ProxyHeader::XForwardedFor),
        "forwarded" => Ok(ProxyHeader::Forwarded),
        _ => Err("'either', 'x-forwarded-for' or 'forwarded'"),
    }
}

/// Parses the path of a file with keys or certificates in PEM, or with credentials.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    let file = PathBuf::from(text);
    let kind = fs::metadata(&file).map_err(|_| READABLE)?.file_type();

    // The content of a pipe can be read only once, so it is not checked here.
    if kind.is_file() {
        let bytes = small_file::read(&file, small_file::MAX_BYTES).map_err(|_| READABLE)?;
        if has_bom(&bytes) {
            return Err(KeyFileError::ByteOrderMark.to_string());
        }
    } else if !kind.is_fifo() {
        return Err(READABLE.to_owned());
    }
    Ok(file)
}

/// Reads the keys in a key file, and returns its path with them.
pub(super) fn key_file(text: &str) -> Result<(PathBuf, KeySet), String> {
    let file = PathBuf::from(text);
    let bytes = small_file::read(&file, small_file::MAX_BYTES).map_err(|_| READABLE)?;
    let keys = KeySet::parse(&bytes).map_err(|error| error.to_string())?;

    Ok((file, keys))
}

/// Parses the name of a header. Returns it in lower case.
pub(super) fn header_name(text: &str) -> Result<String, &'static str> {
    const ALLOWED: &str = "the name of a header that only a proxy sends, like remote-user";
    let name: HeaderName = text.parse().map_err(|_| ALLOWED)?;

    // Clients send these.
    let is_standard = [
        header::AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::ORIGIN,
        header::USER_AGENT,
    ];
    if is_standard.contains(&name) {
        Err(ALLOWED)
    } else {
        Ok(name.as_str().to_owned())
    }
}

/// Accepts any text.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    Ok(text.to_owned())
}

/// Parses the access of clients without a token. Returns true if they may read.
pub(super) fn anonymous(text: &str) -> Result<bool, &'static str> {
    match text {
        "none" => Ok(false),
        "read" => Ok(true),
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
    fn times_are_parsed_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));

        for text in [
            "",
            "s",
            "5",
            "0s",
            "-1s",
            "5 parsecs",
            "99999999999999999999s",
            "366d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_parsed_with_their_units() {
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("1MiB"), Ok(1 << 20));

        for text in ["", "KiB", "0", "64kb", "2GiB", "1e6"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_from_1_mib_to_1024_gib() {
        assert_eq!(memory("512MiB"), Ok(512 << 20));
        assert_eq!(memory("16GiB"), Ok(16 << 30));

        assert!(memory("64KiB").is_err());
        assert!(memory("1025GiB").is_err());
    }

    #[test]
    fn a_network_is_an_address_with_or_without_a_prefix_length() {
        let prefix_length = network("2001:db8::/32").map(|network| network.prefix_len());

        assert_eq!(network("10.0.0.7"), network("10.0.0.7/32"));
        assert_eq!(prefix_length, Ok(32));
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0/8", "10.0.0.7:80"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_has_an_optional_unit() {
        assert_eq!(rate("20/s"), Ok(20));
        assert_eq!(rate("20"), Ok(20));
        assert_eq!(rate("0"), Ok(0));

        assert!(rate("20/m").is_err());
    }
}
