//! The libraries that the server is built from, held against `deny.toml`: licences, sources, bans, and that each
//! advisory passed over is about a library that is there. `cargo deny` checks more; it is not on every machine.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// `deny.toml`, or another file in TOML of the repository.
fn read(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(path).expect("it is there");
    text.parse().expect("TOML")
}

/// The texts of the list `key` in the part `part` of `deny.toml`.
fn listed(part: &str, key: &str) -> Vec<String> {
    let deny = read("deny.toml");
    let list = deny[part][key].as_array().expect("a list");
    list.iter()
        .map(|text| text.as_str().expect("text").to_owned())
        .collect()
}

/// The libraries of the server, as Cargo knows them without a network.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args([
            "--features",
            "ssr",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("Cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let Value::Array(packages) = metadata["packages"].take() else {
        panic!("no list of packages")
    };
    packages
        .into_iter()
        .filter(|package| package["source"].is_string())
        .collect()
}

/// The names of all libraries in `Cargo.lock`, those of other platforms too.
fn locked() -> Vec<String> {
    let lock = read("Cargo.lock");
    let packages = lock["package"].as_array().expect("a list");
    packages
        .iter()
        .map(|package| package["name"].as_str().expect("text").to_owned())
        .collect()
}

/// Whether the SPDX expression `licence` can be met by the licences `allowed`: one side of each OR, both of each AND.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    let licence = licence
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = licence.split_whitespace().peekable();
    let is_met = either(&mut words, allowed);
    assert_eq!(words.next(), None, "{licence}");
    is_met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut is_met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        is_met |= both(words, allowed);
    }
    is_met
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut is_met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        is_met &= one(words, allowed);
    }
    is_met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let word = words.next().expect("a licence");
    if word == "(" {
        let is_met = either(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return is_met;
    }
    match words.next_if_eq(&"WITH") {
        // An exception makes another licence of it.
        Some(_) => {
            let exception = words.next().expect("an exception");
            allowed.contains(&format!("{word} WITH {exception}"))
        }
        None => allowed.iter().any(|allowed| allowed == word),
    }
}

#[test]
fn every_library_has_a_licence_that_is_allowed() {
    let allowed = listed("licenses", "allow");

    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(
            is_allowed(licence, &allowed),
            "{} is under {licence}; deny.toml allows {allowed:?}",
            package["name"]
        );
    }
}

#[test]
fn every_library_comes_from_a_registry_that_is_allowed_and_none_is_banned() {
    let registries = listed("sources", "allow-registry");
    let deny = read("deny.toml");
    let banned = deny["bans"]["deny"].as_array().expect("a list");

    for package in packages() {
        let source = package["source"].as_str().expect("text");
        let registry = source.strip_prefix("registry+");
        assert!(
            registry.is_some_and(|registry| registries.iter().any(|allowed| allowed == registry)),
            "{} comes from {source}",
            package["name"]
        );
    }
    for banned in banned {
        let name = banned["name"].as_str().expect("text");
        assert!(!locked().iter().any(|locked| locked == name), "{name}");
    }
}

#[test]
fn every_advisory_that_is_passed_over_is_about_a_library_that_is_there() {
    let deny = read("deny.toml");
    let ignored = deny["advisories"]["ignore"].as_array().expect("a list");
    let security =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md"))
            .expect("it is there");

    for advisory in ignored {
        let id = advisory["id"].as_str().expect("text");
        let reason = advisory["reason"].as_str().expect("text");
        let (library, _) = reason.split_once(':').expect("the crate, then why");
        assert!(
            locked().iter().any(|locked| locked == library),
            "{id}: {library} is no longer in Cargo.lock"
        );
        assert!(security.contains(id), "SECURITY.md does not name {id}");
    }
}

#[test]
fn a_licence_is_read_as_spdx_writes_it() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];

    for (licence, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("Unlicense/MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("MIT WITH LLVM-exception", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), expected, "{licence}");
    }
}
