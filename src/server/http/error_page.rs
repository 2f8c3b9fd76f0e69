//! Error pages: browsers get errors as a page in the reader's language, programs get JSON.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;

use crate::app::{Problem, ProblemKind, problem_document, suggest_room};
use crate::server::http::negotiation::{self, Offer};
use crate::server::http::page::ReaderPreferences;
use crate::server::http::shares::AddressShare;
use crate::server::http::{AppState, headers};

/// The forms of an error, by the media types that `Accept` may name. Programs that accept anything get JSON.
const FORMS: [Offer<bool>; 2] = [(&["application/json"], false), (&["text/html"], true)];

/// The first segments of paths that always answer with JSON, because only programs request them.
const PROGRAM_PATHS: [&str; 4] = ["api", "streams", "ws", "pkg"];

/// The code and the message of an error, which its response carries as an extension.
#[derive(Clone, Debug)]
pub(super) struct ErrorText {
    pub(super) code: &'static str,
    /// A sentence in English.
    pub(super) message: String,
    /// True if browsers get the error as a page.
    pub(super) may_be_page: bool,
}

/// Runs `request`, and replaces an error by a page if a browser made the request.
pub(super) async fn show(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    request: Request,
    next: Next,
) -> Response {
    if is_program_path(request.uri().path()) {
        return next.run(request).await;
    }

    let prefers_page = negotiation::media_type(request.headers(), &FORMS) == Some(&true);
    let reader = ReaderPreferences::of(share, request.headers());
    let room = requested_room(request.uri());
    let mut response = next.run(request).await;

    // The admin page renders its own errors.
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    let Some(error) = response
        .extensions_mut()
        .remove::<ErrorText>()
        .filter(|_| is_json)
    else {
        return response;
    };

    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Accept"));
    if !prefers_page || !error.may_be_page {
        return response;
    }
    // The response stays JSON if too many pages are being rendered.
    let Ok(permit) = state.renderer.acquire(&reader.share).await else {
        return response;
    };

    let problem = problem(&state, &reader, room, response.status(), error);
    if let Ok(html) = permit.render(move || problem_document(problem)).await {
        headers::put_page(&mut response, html, "Accept-Language, Cookie");
    }

    response
}

fn is_program_path(path: &str) -> bool {
    path.split('/')
        .nth(1)
        .is_some_and(|first| PROGRAM_PATHS.contains(&first))
}

/// Returns the content of the page for `error` with `status`, in answer to a request for `room`.
fn problem(
    state: &AppState,
    reader: &ReaderPreferences,
    room: Option<String>,
    status: StatusCode,
    error: ErrorText,
) -> Problem {
    let ErrorText { code, message, .. } = error;
    let room = room.filter(|_| matches!(code, "bad_name" | "not_found"));

    Problem {
        locale: reader.locale,
        theme: reader.theme,
        base: state.site.base.clone(),
        styles: state.site.styles(),
        kind: room
            .as_deref()
            .map_or_else(|| kind_of(status), ProblemKind::no_room),
        suggestion: room.as_deref().and_then(suggest_room),
        message,
    }
}

fn kind_of(status: StatusCode) -> ProblemKind {
    match status {
        StatusCode::NOT_FOUND => ProblemKind::NotFound,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => ProblemKind::Forbidden,
        StatusCode::METHOD_NOT_ALLOWED => ProblemKind::Method,
        StatusCode::MISDIRECTED_REQUEST => ProblemKind::Misdirected,
        StatusCode::TOO_MANY_REQUESTS => ProblemKind::TooMany,
        status if status.is_server_error() => ProblemKind::Unavailable,
        _ => ProblemKind::Other,
    }
}

/// Returns the room in `uri`: in the path after `/r/`, or in the query of `/`.
fn requested_room(uri: &Uri) -> Option<String> {
    if let Some(room) = uri.path().strip_prefix("/r/") {
        return Some(percent_decode_str(room).decode_utf8_lossy().into_owned());
    }

    let query = uri.query().filter(|_| uri.path() == "/")?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "room")
        .map(|(_, room)| room.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requested_room_is_found_in_the_path_and_in_the_query() {
        for (uri, expected) in [
            ("/r/Team", Some("Team")),
            ("/r/%E4%B8%AD%E6%96%87", Some("中文")),
            ("/r/lobby/", Some("lobby/")),
            ("/r/", Some("")),
            ("/?room=Team+A&x=1", Some("Team A")),
            ("/", None),
            ("/x?room=a", None),
        ] {
            let room = requested_room(&Uri::from_static(uri));

            assert_eq!(room.as_deref(), expected, "{uri}");
        }
    }
}
