//! The version of this program.
//!
//! Only releases contain their commit: `scripts/dist.sh` passes it to the build. A build script that ran git would
//! rebuild the program after each commit.

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of a release, with `-dirty` appended if the source had other changes; `None` in other builds.
pub const COMMIT: Option<&str> = option_env!("FANFARE_COMMIT");

/// Returns the version and the commit as text: `0.1.0 (1a2b3c4d5e6f)`.
pub fn describe() -> String {
    match COMMIT {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    }
}

/// Returns the version and the commit as JSON, the response of `GET /version`.
pub fn json() -> serde_json::Value {
    serde_json::json!({ "version": VERSION, "commit": COMMIT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_same_version() {
        assert!(describe().starts_with(VERSION));
        assert_eq!(json()["version"], VERSION);
        assert_eq!(json()["commit"].as_str(), COMMIT);
    }
}
