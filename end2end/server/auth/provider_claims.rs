//! Tokens with the claims of Keycloak, Entra ID, Auth0 and Google, accepted by the settings in the documentation. The keys are
//! made by the tests.

use jsonwebtoken::Algorithm;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::provider::answering;
use super::{keys, unix_seconds};
use crate::client::fetch;
use crate::harness::{Server, program};

/// The documentation.
const PAGE: &str = include_str!("../../../docs/src/identity.md");

/// The documented settings for a provider.
struct Documented {
    toml: String,
}

impl Documented {
    /// Returns the settings for `provider`, the name in their first line.
    fn find(provider: &str) -> Self {
        let start = format!("```toml\n# {provider}.");
        let (_, settings) = PAGE.split_once(&start).expect("settings for the provider");
        let (settings, _) = settings.split_once("```").expect("the end of the settings");
        Self {
            toml: format!("# {settings}"),
        }
    }

    /// Returns the text of `key`, or the only text of its list.
    fn text(&self, key: &str) -> &str {
        let start = format!("\n{key} = ");
        let (_, value) = self.toml.split_once(&start).expect("the key");
        value.split('"').nth(1).expect("a text")
    }

    /// Returns `claims` with the times, the issuer and the audience of a token for these settings.
    fn claims(&self, claims: Value) -> Value {
        let mut all = json!({
            "iss": self.text("token-issuer"),
            "aud": self.text("token-audience"),
            "iat": unix_seconds(),
            "exp": unix_seconds() + 3600,
        });
        let fields = claims.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(fields);
        all
    }
}

/// A server with the documented settings for a provider, and a key in place of the provider's.
struct Configured {
    server: Server,
    key: String,
    /// The folder with the settings.
    _folder: TempDir,
}

impl Configured {
    async fn start(documented: &Documented) -> Self {
        let (key, public) = keys::rsa(2048);
        let set = json!({"keys": [keys::rsa_jwk(&public, "one")]}).to_string();
        let length = set.len();
        let provider = answering(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{set}"
        ))
        .await;
        let local = format!("http://{provider}/jwks");

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("fanfare.toml");
        let settings = documented.toml.replace(documented.text("jwks"), &local);
        std::fs::write(&file, settings).expect("written");
        let mut command = program();
        command.arg("--data").arg(folder.path());
        command.arg("--config").arg(file);
        Self {
            server: Server::start_by(&mut command, &[]),
            key,
            _folder: folder,
        }
    }

    /// Publishes in the lobby with a token of `claims`; returns the status, and the sender if the message was stored.
    async fn publish(&self, claims: &Value) -> (u16, Value) {
        let token = keys::sign_claims_with(&self.key, Algorithm::RS256, Some("one"), claims);
        let url = self.server.url("/api/v1/rooms/lobby/messages");
        let publish = Client::new().post(&url).bearer_auth(&token).body("x");
        let (status, _) = fetch(publish).await;
        let (_, history) = fetch(Client::new().get(&url).bearer_auth(&token)).await;
        (status, history["messages"][0]["from"].clone())
    }
}

/// Checks that the documented settings for `provider` accept a token with `claims` as one of `user`, and refuse it for
/// another audience, of another issuer, and without the claim `rights`.
async fn check(provider: &str, claims: Value, user: &str, rights: &str) {
    let documented = Documented::find(provider);
    let configured = Configured::start(&documented).await;
    let claims = documented.claims(claims);
    let with = |key: &str, value: &str| {
        let mut changed = claims.clone();
        changed[key] = json!(value);
        changed
    };
    let mut without_rights = claims.clone();
    let fields = without_rights.as_object_mut().expect("an object");
    fields.remove(rights).expect("a claim");

    let (status, from) = configured.publish(&claims).await;
    assert_eq!((status, from), (201, json!(user)));

    for (changed, expected) in [
        (with("aud", "another"), 401),
        (with("iss", "https://id.example.com"), 401),
        (without_rights, 403),
    ] {
        let (status, _) = configured.publish(&changed).await;
        assert_eq!(status, expected, "{changed}");
    }
}

#[tokio::test]
async fn the_settings_for_keycloak_accept_an_access_token_with_its_claims() {
    let claims = json!({
        "jti": "onrtac:57d93b0e-0b0a-4d52-9a0e-6f1c4d8f2f3a",
        "aud": ["chat", "account"],
        "sub": "f3b1c7de-2a44-4c39-9d2b-0f6f0a5f7a11",
        "typ": "Bearer",
        "azp": "web",
        "sid": "3b3a1c9e-5c0f-4d54-8d7c-0f7e3a9d8b21",
        "acr": "1",
        "allowed-origins": ["https://chat.example.org"],
        "realm_access": {"roles": ["lobby:rw", "offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid profile email",
        "email_verified": true,
        "name": "Ann Smith",
        "preferred_username": "ann",
        "email": "ann@example.org",
    });

    check("Keycloak", claims, "ann", "realm_access").await;
}

#[tokio::test]
async fn the_settings_for_entra_id_accept_an_access_token_with_its_claims() {
    let claims = json!({
        "nbf": unix_seconds(),
        "aio": "AXQAi/8TAAAA",
        "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        "azpacr": "0",
        "name": "Ann Smith",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "ann@example.org",
        "rh": "0.AAAA",
        "roles": ["Chat.Write", "Other.Role"],
        "scp": "access_as_user",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    });

    let user = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
    check("Entra ID", claims, user, "roles").await;
}

#[tokio::test]
async fn the_settings_for_auth0_accept_an_access_token_with_its_claims() {
    let documented = Documented::find("Auth0");
    let api = documented.text("token-audience").to_owned();
    let claims = json!({
        "https://chat.example.org/rooms": {"lobby": "rw"},
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": [api, "https://TENANT.auth0.com/userinfo"],
        "azp": "my_client_id",
        "scope": "openid profile email",
        "permissions": [],
    });

    let user = "auth0|5f7c8ec7c33c6c004bbafe82";
    check("Auth0", claims, user, "https://chat.example.org/rooms").await;
}

#[tokio::test]
async fn the_settings_for_google_accept_an_id_token_of_the_own_domain_only() {
    let claims = json!({
        "azp": "1234567890-chat.apps.googleusercontent.com",
        "sub": "110169484474386276334",
        "hd": "example.org",
        "email": "ann@example.org",
        "email_verified": true,
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "name": "Ann Smith",
        "picture": "https://lh3.googleusercontent.com/a-/photo.jpg",
        "given_name": "Ann",
        "family_name": "Smith",
    });

    check("Google", claims, "ann@example.org", "hd").await;
}
