//! Texts to values, and what is said about those that are none.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::server::auth::Origin;
use crate::server::config::LogFormat;
use crate::server::config::setting::SETTINGS;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In the file of `--config`.
    File,
    /// Nowhere.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A value as it was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// The text.
    pub text: String,
    /// Where.
    pub source: Source,
}

/// Values as they were given, by the names of their settings.
#[derive(Clone, Debug, Default)]
pub struct Raw(BTreeMap<&'static str, Vec<Given>>);

/// A value that cannot be, and what could.
#[derive(Clone, Debug)]
pub struct Mistake(String);

impl Mistake {
    /// A mistake in one sentence.
    pub const fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Raw {
    /// Adds a value for the setting `name`.
    pub fn give(&mut self, name: &'static str, given: Given) {
        self.0.entry(name).or_default().push(given);
    }

    /// Whether the setting `name` has a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The values of the setting `name`: those given, else its default.
    pub fn get(&self, name: &str) -> Vec<Given> {
        self.0.get(name).cloned().unwrap_or_else(|| {
            let default =
                SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
            let given = Given { text: default.to_owned(), source: Source::Default };
            if default.is_empty() { Vec::new() } else { vec![given] }
        })
    }

    /// That the value of `name` is not `allowed`.
    pub(super) fn mistake(&self, name: &str, allowed: &str) -> Mistake {
        match self.get(name).last() {
            Some(given) => mistake(name, given, allowed),
            None => Mistake(format!("--{name} is missing; allowed is {allowed}")),
        }
    }

    /// The value of `name`, read by `parse`, whose error is what would have been allowed.
    pub(super) fn read<T>(
        &self,
        name: &str,
        mistakes: &mut Vec<Mistake>,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let given = self.get(name);
        let text = given.last().map_or("", |given| &given.text);
        parse(text).map_err(|allowed| mistakes.push(self.mistake(name, allowed))).ok()
    }

    /// All values of `name`.
    pub(super) fn read_all<T>(
        &self,
        name: &str,
        mistakes: &mut Vec<Mistake>,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for given in self.get(name) {
            match parse(&given.text) {
                Ok(value) => values.push(value),
                Err(allowed) => mistakes.push(mistake(name, &given, allowed)),
            }
        }
        values
    }
}

fn mistake(name: &str, given: &Given, allowed: &str) -> Mistake {
    Mistake(format!("--{name} is {:?} ({}); allowed is {allowed}", given.text, given.source))
}

/// Splits `text` where its digits end.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
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
    let millis =
        number.checked_mul(millis_each).filter(|millis| (1..=longest).contains(millis)).ok_or(ALLOWED)?;
    Ok(Duration::from_millis(millis))
}

pub(super) fn size(text: &str) -> Result<usize, &'static str> {
    const ALLOWED: &str = "a size from 1KiB to 1GiB, like 65536, 64KiB or 1MiB";
    let (number, unit) = number_and_unit(text).ok_or(ALLOWED)?;
    let each = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(ALLOWED),
    };
    let bytes =
        number.checked_mul(each).filter(|bytes| (1 << 10..=1 << 30).contains(bytes)).ok_or(ALLOWED)?;
    usize::try_from(bytes).map_err(|_| ALLOWED)
}

pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|count| (1..=100_000_000).contains(count)).ok_or("a number from 1 to 100000000")
}

pub(super) fn rate(text: &str) -> Result<u32, &'static str> {
    text.strip_suffix("/s")
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|rate| *rate <= 1_000_000)
        .ok_or("a number a second from 0 to 1000000, like 20/s; 0 is unlimited")
}

pub(super) fn burst(text: &str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|burst| (1..=1_000_000).contains(burst)).ok_or("a number from 1 to 1000000")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port, like 127.0.0.1:12345 or [::1]:12345")
}

pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    if text == "off" {
        return Ok(None);
    }
    address(text).map(Some).map_err(|_| "'off', or an IP address and a port, like 127.0.0.1:12346")
}

/// The folder named, else `site` beside the program, else the one that a build makes.
pub(super) fn site_folder(text: &str) -> Result<PathBuf, &'static str> {
    if !text.is_empty() {
        let folder = PathBuf::from(text);
        return if folder.is_dir() { Ok(folder) } else { Err("a folder that exists") };
    }
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("site")));
    Ok(beside.filter(|folder| folder.is_dir()).unwrap_or_else(|| PathBuf::from("target/site")))
}

/// What `--allow-origin` names.
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
            .map_err(|_| "'any', 'null', or an origin like https://example.org (no path)"),
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
        assert_eq!((size("65536"), size("64KiB"), size("1MiB")), (Ok(65536), Ok(65536), Ok(1 << 20)));
        for wrong in ["", "s", "5", "0s", "-1s", "5 parsecs", "99999999999999999999s", "366d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "KiB", "0", "64kb", "2GiB", "1e6"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_may_say_a_second_or_not() {
        assert_eq!((rate("20/s"), rate("20"), rate("0")), (Ok(20), Ok(20), Ok(0)));
        assert!(rate("20/m").is_err());
    }
}
