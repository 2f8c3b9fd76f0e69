//! Requests to the API of the server.

use gloo_net::http::Request;

use crate::protocol::Token;

/// The status of a request that got no response.
pub const NO_RESPONSE: u16 = 0;

/// Returns the body of the response to a GET request of `url`, with `token` if there is one.
///
/// # Errors
/// The status of the response, or [`NO_RESPONSE`].
pub async fn get(url: &str, token: Option<&Token>) -> Result<String, u16> {
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header("Authorization", &format!("Bearer {}", token.reveal()));
    }

    let response = request.send().await.map_err(|_| NO_RESPONSE)?;
    if !response.ok() {
        return Err(response.status());
    }
    response.text().await.map_err(|_| NO_RESPONSE)
}
