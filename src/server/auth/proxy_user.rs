//! The user that a proxy with single sign-on names in a header.

/// The headers in which trusted proxies name the user of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserHeaders {
    /// Name of the header with the user id, in lower case.
    pub user: String,
    /// Name of the header with the groups, in lower case, if the proxy sends one.
    pub groups: Option<String>,
}

/// The user of a request, as its proxy named it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyUser {
    /// Values of the header with the user id. More than one is an error: the client may have sent the other.
    pub ids: Vec<Vec<u8>>,
    /// Values of the header with the groups.
    pub groups: Vec<Vec<u8>>,
}

impl ProxyUser {
    /// Returns the names of the groups, which `,` or `|` separates.
    pub(super) fn group_names(&self) -> Vec<&str> {
        // A value that is not text names no group.
        let values = self.groups.iter().map(|value| std::str::from_utf8(value));
        values
            .flat_map(|value| value.unwrap_or_default().split([',', '|']))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect()
    }
}
