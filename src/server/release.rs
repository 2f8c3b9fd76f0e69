//! Which program this is, for whoever asks a running one.
//!
//! Only a release knows its commit: `scripts/dist.sh` names it when it builds. A build that asked git by itself
//! would be another one after each commit, for nothing.

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, with `-dirty` behind it if there was more than that; none but in a release.
pub const COMMIT: Option<&str> = option_env!("FANFARE_COMMIT");

/// Both, for a person: `0.1.0 (1a2b3c4d5e6f)`.
pub fn describe() -> String {
    match COMMIT {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    }
}

/// Both, for a program: what `GET /version` answers.
pub fn json() -> serde_json::Value {
    serde_json::json!({ "version": VERSION, "commit": COMMIT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_and_a_program_are_told_the_same() {
        assert!(describe().starts_with(VERSION));
        assert_eq!(json()["version"], VERSION);
        assert_eq!(json()["commit"].as_str(), COMMIT);
    }
}
