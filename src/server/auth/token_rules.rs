//! The rules for tokens: their audiences, their issuers, the claims with the user id and the grants, and the grants of
//! groups.

use std::str::FromStr;

use serde_json::Value;

use crate::server::auth::GroupGrants;

/// The claim with the user id, unless a setting names another.
const ID_CLAIM: &str = "sub";
/// The claim with the grants, unless a setting names another.
const ROOMS_CLAIM: &str = "rooms";

/// The rules for the claims of all tokens, and for groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// The audiences of this server. A token must name one of them; if there are none, it must have no audience.
    pub audiences: Vec<String>,
    /// The accepted issuers; empty if every issuer is.
    pub issuers: Vec<String>,
    /// The claim with the user id.
    pub id_claim: ClaimPath,
    /// The claim with the grants.
    pub rooms_claim: ClaimPath,
    /// The grants of groups that a token or a proxy names.
    pub groups: GroupGrants,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            audiences: Vec::new(),
            issuers: Vec::new(),
            id_claim: ClaimPath(ID_CLAIM.to_owned()),
            rooms_claim: ClaimPath(ROOMS_CLAIM.to_owned()),
            groups: GroupGrants::default(),
        }
    }
}

/// The name of a claim. A dot separates the names of nested claims, as in `realm_access.roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(String);

/// The error of a text that is not a [`ClaimPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a claim without spaces, like sub, email or realm_access.roles")]
pub struct ClaimPathError;

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        let is_name = !text.is_empty() && !text.contains(char::is_whitespace);
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClaimPathError)
        }
    }
}

impl ClaimPath {
    /// Returns the claim in `claims`. A claim whose own name has dots, such as `https://example.org/rooms`, takes
    /// precedence over nested claims.
    pub(super) fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        claims.get(&self.0).or_else(|| {
            let mut names = self.0.split('.');
            names.try_fold(claims, |outer, name| outer.get(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_or_by_the_names_around_it() {
        let claims = json!({
            "sub": "ann",
            "https://example.org/rooms": "own",
            "resource_access": {"chat": {"roles": ["x"]}},
        });

        for (path, expected) in [
            ("sub", Some(json!("ann"))),
            ("https://example.org/rooms", Some(json!("own"))),
            ("resource_access.chat.roles", Some(json!(["x"]))),
            ("resource_access.other.roles", None),
            ("sub.x", None),
            ("resource_access.", None),
        ] {
            let path: ClaimPath = path.parse().expect("a claim");
            assert_eq!(path.find(&claims), expected.as_ref(), "{path:?}");
        }
    }

    #[test]
    fn an_empty_name_and_a_name_with_spaces_are_refused() {
        assert_eq!("".parse::<ClaimPath>(), Err(ClaimPathError));
        assert_eq!("a b".parse::<ClaimPath>(), Err(ClaimPathError));
    }
}
