//! The settings of access: hosts, origins, proxies, tokens and TLS.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use crate::server::auth::{
    ClaimPath, Embedding, Grants, GroupGrants, KeySet, OriginPolicy, PageUrl, Proxies, SignInUrls,
    TokenRules, UserHeaders, Verifier, WebSettings,
};
use crate::server::config::ConfigError;
use crate::server::config::reader::ConfigReader;
use crate::server::config::value::{self, AllowedOrigin};
use crate::server::jwks::JwksUrl;
use crate::server::room_rules::RoomRuleTable;
use crate::server::transport::{CertificateError, Tls};

/// Reads the policy for browsers.
pub(super) fn web(reader: &mut ConfigReader<'_>) -> WebSettings {
    let public = reader.values("public-host", value::public_host);
    let origins = reader.values("allow-origin", value::origin);
    let frame_ancestors = reader.values("allow-embed", value::frame_ancestor);

    WebSettings {
        public,
        origins: OriginPolicy {
            any: origins.contains(&AllowedOrigin::Any),
            null: origins.contains(&AllowedOrigin::Null),
            listed: origins
                .into_iter()
                .filter_map(AllowedOrigin::listed)
                .collect(),
        },
        embedding: Embedding {
            any: frame_ancestors.contains(&AllowedOrigin::Any),
            listed: frame_ancestors
                .into_iter()
                .filter_map(AllowedOrigin::listed)
                .collect(),
        },
        sign_in: sign_in_urls(reader),
    }
}

/// Reads the URLs at which users sign in.
fn sign_in_urls(reader: &mut ConfigReader<'_>) -> SignInUrls {
    let token = reader.optional("token-url", PageUrl::parse);
    let page = reader.optional("sign-in-url", PageUrl::parse);

    let has_keys = reader.is_given("auth-key-file") || reader.is_given("jwks");
    if token.is_some() && !has_keys {
        reader.reject(
            "token-url",
            "a URL beside --auth-key-file or --jwks, whose keys verify the tokens",
        );
    }
    if page.is_some() && !has_keys && !reader.is_given("auth-header") {
        reader.reject(
            "sign-in-url",
            "a URL beside --auth-key-file, --jwks or --auth-header; without them, users choose their names",
        );
    }
    SignInUrls { token, page }
}

/// Reads the trusted proxies.
pub(super) fn proxies(reader: &mut ConfigReader<'_>) -> Proxies {
    Proxies {
        trusted: reader.values("trusted-proxy", value::network),
        header: reader.value("proxy-header", value::proxy_header),
        user_headers: user_headers(reader),
    }
}

/// Reads the headers in which trusted proxies name users.
fn user_headers(reader: &mut ConfigReader<'_>) -> Option<UserHeaders> {
    let user = reader.optional("auth-header", value::header_name);
    let groups = reader.optional("auth-groups-header", value::header_name);

    if user.is_some() && !reader.is_given("trusted-proxy") {
        reader.reject(
            "auth-header",
            "a header of proxies that --trusted-proxy names; without them, every client could name any user",
        );
    }
    if reader.is_given("auth-groups-header") && !reader.is_given("auth-header") {
        reader.reject("auth-groups-header", "a header beside --auth-header");
    }
    Some(UserHeaders {
        user: user?,
        groups,
    })
}

/// Reads the verifier of tokens, and the file or the URL of its keys. In open mode there is neither. `rules` say what clients
/// without a token may read.
pub(super) fn verifier(
    reader: &mut ConfigReader<'_>,
    rules: &Arc<RoomRuleTable>,
) -> (Verifier, Option<PathBuf>, Option<JwksUrl>) {
    let keys = reader.optional("auth-key-file", value::key_file);
    let jwks = reader.optional("jwks", JwksUrl::parse);
    let token_rules = token_rules(reader);

    if jwks.is_some() && reader.is_given("auth-key-file") {
        reader.reject(
            "jwks",
            "no URL beside --auth-key-file: the keys are in a file or at a URL",
        );
    }
    let (keys, file) = match keys {
        Some((file, keys)) => (keys, Some(file)),
        None if jwks.is_some() => (KeySet::empty(), None),
        None if reader.is_given("auth-header") => {
            let verifier = Verifier::of_proxy_users(rules.clone());
            return (verifier.with_token_rules(token_rules), None, None);
        }
        None => return (Verifier::open(), None, None),
    };
    let verifier = Verifier::new(keys, rules.clone()).with_token_rules(token_rules);
    (verifier, file, jwks)
}

/// Reads the rules for the claims of tokens.
fn token_rules(reader: &mut ConfigReader<'_>) -> TokenRules {
    TokenRules {
        audiences: reader.values("token-audience", value::text),
        issuers: reader.values("token-issuer", value::text),
        id_claim: reader.value("claim-id", ClaimPath::from_str),
        rooms_claim: reader.value("claim-rooms", ClaimPath::from_str),
        groups: group_grants(reader),
    }
}

/// A table `[[grant]]` of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantTable {
    /// The group; all authenticated users without one.
    group: Option<String>,
    rooms: Grants,
}

/// Reads the grants of groups.
fn group_grants(reader: &mut ConfigReader<'_>) -> GroupGrants {
    let mut groups = GroupGrants::default();
    for (index, table) in reader.grants().iter().enumerate() {
        match table.clone().try_into::<GrantTable>() {
            Ok(GrantTable { group, rooms }) => groups.add(group, rooms),
            Err(error) => reader.error(ConfigError::new(format!(
                "[[grant]] {} (file): {}; allowed are group, a text, and rooms, like {{ lobby = \"rw\" }}",
                index + 1,
                error.message()
            ))),
        }
    }

    if !groups.is_empty()
        && !["auth-key-file", "jwks", "auth-header"]
            .iter()
            .any(|name| reader.is_given(name))
    {
        reader.error(ConfigError::new(
            "[[grant]] (file): without --auth-key-file, --jwks or --auth-header, all clients may read and write, and grants \
             have no effect"
                .to_owned(),
        ));
    }
    groups
}

/// Reads the certificate and key of `--listen`. `None` means plain HTTP.
pub(super) fn tls(reader: &mut ConfigReader<'_>) -> Option<Tls> {
    let certificate = reader.optional("tls-cert", value::file);
    let key = reader.optional("tls-key", value::file);
    if certificate.is_some() && !reader.is_given("tls-key") {
        reader.reject("tls-key", "the file with the private key of --tls-cert");
    }
    if key.is_some() && !reader.is_given("tls-cert") {
        reader.reject("tls-cert", "the file with the certificate of --tls-key");
    }

    match Tls::open(certificate?, key?) {
        Ok(tls) => return Some(tls),
        Err(CertificateError::Certificate) => reader.reject(
            "tls-cert",
            "a file of certificates in PEM: -----BEGIN CERTIFICATE-----",
        ),
        Err(CertificateError::Key) => reader.reject(
            "tls-key",
            "a file with a private key in PEM: -----BEGIN PRIVATE KEY-----",
        ),
        Err(error @ CertificateError::Mismatch(_)) => reader.reject(
            "tls-key",
            &format!("the private key of --tls-cert ({error})"),
        ),
    }
    None
}
