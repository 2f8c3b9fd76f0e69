//! The dependencies of the server against `deny.toml`: licences, sources, bans and ignored advisories. `cargo deny`
//! checks more, but is not installed on every machine.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Reads a TOML file of the repository.
fn read(name: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(path).expect("it is there");
    text.parse().expect("TOML")
}

/// Returns the list `key` in the section `part` of `deny.toml`.
fn listed(part: &str, key: &str) -> Vec<String> {
    let deny = read("deny.toml");
    let list = deny[part][key].as_array().expect("a list");
    list.iter()
        .map(|text| text.as_str().expect("text").to_owned())
        .collect()
}

/// Returns the dependencies of the server from `cargo metadata`, without a network.
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

/// Returns the names of all libraries in `Cargo.lock`, also those of other platforms.
fn locked() -> Vec<String> {
    let lock = read("Cargo.lock");
    let packages = lock["package"].as_array().expect("a list");
    packages
        .iter()
        .map(|package| package["name"].as_str().expect("text").to_owned())
        .collect()
}

/// Returns true if the licences `allowed` satisfy the SPDX expression `licence`.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    let licence = licence
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut tokens = licence.split_whitespace().peekable();
    let is_met = either(&mut tokens, allowed);

    assert_eq!(tokens.next(), None, "{licence}");

    is_met
}

/// The tokens of an SPDX expression.
type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Parses an OR expression: one side must be allowed.
fn either(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let mut is_met = both(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        is_met |= both(tokens, allowed);
    }
    is_met
}

/// Parses an AND expression: both sides must be allowed.
fn both(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let mut is_met = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        is_met &= one(tokens, allowed);
    }
    is_met
}

/// Parses a licence or an expression in parentheses.
fn one(tokens: &mut Tokens<'_>, allowed: &[String]) -> bool {
    let token = tokens.next().expect("a licence");
    if token == "(" {
        let is_met = either(tokens, allowed);
        assert_eq!(tokens.next(), Some(")"));
        return is_met;
    }

    match tokens.next_if_eq(&"WITH") {
        // A licence with an exception counts as a separate licence.
        Some(_) => {
            let exception = tokens.next().expect("an exception");
            allowed.contains(&format!("{token} WITH {exception}"))
        }
        None => allowed.iter().any(|allowed| allowed == token),
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
fn every_ignored_advisory_is_about_a_library_in_use() {
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
