//! `POST /streams/{room}`: appends to a stream, closes it, or both in one step.

use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::protocol::{Epoch, MessageFields, UserId};
use crate::server::http::AppState;
use crate::server::http::api::{RequestBody, admit_drafts};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::streams::content::ContentForm;
use crate::server::http::streams::headers::{
    self, PRODUCER_EPOCH, PRODUCER_EXPECTED_SEQ, PRODUCER_RECEIVED_SEQ, PRODUCER_SEQ,
    STREAM_CLOSED, STREAM_NEXT_OFFSET, TRUE,
};
use crate::server::http::streams::{self, StreamError, StreamName, WriteErrors, check_end};
use crate::server::room::{Content, Draft};
use crate::server::store::{
    AppendConditions, AppendOutcome, AppendRefusal, AppendResult, ProducerPosition, now_millis,
};

/// Append to a stream, close it, or both in one step.
#[utoipa::path(
    post,
    path = "/streams/{room}",
    params(
        InRoom,
        ("Content-Type" = Option<String>, Header, description = "The media type of the stream; not needed without a body"),
        ("Stream-Closed" = Option<String>, Header, description = "`true`: the stream accepts no more after the body"),
        ("Stream-Seq" = Option<String>, Header, description = "A text that is greater than that of the append before"),
        ("Producer-Id" = Option<String>, Header, description = "The producer; its appends are stored once"),
        ("Producer-Epoch" = Option<u64>, Header, description = "The number of its session"),
        ("Producer-Seq" = Option<u64>, Header, description = "The number of the append in the session, from 0"),
    ),
    request_body(content = Vec<u8>, description = "The content; in a JSON stream, each element of an array is a message", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "Stored, of a producer"),
        (status = 204, description = "Stored, closed, or stored before"),
        WriteErrors,
        (status = 403, description = "`stale_epoch`, `origin_not_allowed`, `not_allowed`, `banned`, `room_closed`", body = ErrorBody),
        (status = 404, description = "`no_such_stream`", body = ErrorBody),
        (status = 409, description = "`stream_closed`, `content_type_mismatch`, `sequence_conflict`, `sequence_gap`", body = ErrorBody),
    ),
)]
pub(super) async fn append(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    StreamName(name): StreamName,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let rules = state.rules(&name);
    client.check_publish(&state, &name, rules.message_rate)?;

    let request = body.headers();
    let conditions = AppendConditions {
        content_type: headers::content_type(request)?,
        producer: headers::producer(request)?,
        writer_seq: headers::writer_seq(request)?,
        closes: headers::is_closed(request),
    };

    let (room, lifecycle) = streams::open(&state, &name).await?;
    if conditions.closes {
        check_end(&client, &name, &lifecycle, "closing")?;
    }

    let form = conditions.content_type.as_deref().map(ContentForm::of);
    let max_message = rules.max_message;
    let read = body.read(ContentForm::max_bytes(max_message), |body| match form {
        _ if body.is_empty() && conditions.closes => Ok(Vec::new()),
        _ if body.is_empty() => Err(StreamError::EmptyBody.into()),
        None => Err(StreamError::NoContentType.into()),
        Some(form) => match form.parse(body, max_message)? {
            empty if empty.is_empty() => Err(StreamError::EmptyBody.into()),
            contents => Ok(contents),
        },
    });
    let drafts = drafts(&client, read.await?)?;

    admit_drafts(&state, &client, &name, &drafts)?;
    let has_messages = !drafts.is_empty();
    let store = state.hub.store();
    let appended = store.append_if(&name, drafts, conditions.clone(), now_millis());
    let result = appended.await?;

    let producer = conditions.producer.as_ref();
    Ok(response(result, room.epoch(), producer, has_messages))
}

/// Returns drafts with `contents`, sent by `client`.
pub(super) fn drafts(
    client: &AuthenticatedClient,
    contents: Vec<Content>,
) -> Result<Vec<Draft>, ApiError> {
    let from = client.principal.user_id(None)?;
    let from = from.unwrap_or_else(UserId::anonymous);
    let draft = |content| Draft::new(from.clone(), content, MessageFields::default());
    Ok(contents.into_iter().map(draft).collect())
}

fn response(
    result: AppendResult,
    epoch: &Epoch,
    producer: Option<&ProducerPosition>,
    has_messages: bool,
) -> Response {
    let AppendResult {
        outcome,
        head,
        is_closed,
    } = result;
    let mut numbers = Vec::new();
    let mut response = match outcome {
        AppendOutcome::Stored => {
            let sent = producer.map(|producer| producer.seq);
            numbers.extend(sent.map(|seq| (PRODUCER_SEQ, seq)));
            match producer {
                Some(_) if has_messages => StatusCode::OK.into_response(),
                _ => StatusCode::NO_CONTENT.into_response(),
            }
        }
        AppendOutcome::Duplicate { seq } => {
            let newest = seq.or(producer.map(|producer| producer.seq));
            numbers.extend(newest.map(|seq| (PRODUCER_SEQ, seq)));
            StatusCode::NO_CONTENT.into_response()
        }
        AppendOutcome::Refused(refusal) => {
            match refusal {
                AppendRefusal::StaleEpoch { epoch } => numbers.push((PRODUCER_EPOCH, epoch)),
                AppendRefusal::SeqGap { expected, seq } => {
                    numbers.push((PRODUCER_EXPECTED_SEQ, expected));
                    numbers.push((PRODUCER_RECEIVED_SEQ, seq));
                }
                _ => {}
            }
            ApiError::from(StreamError::from(refusal)).into_response()
        }
    };

    let is_accepted = response.status().is_success();
    if let Some(producer) = producer.filter(|_| is_accepted) {
        numbers.push((PRODUCER_EPOCH, producer.epoch));
    }
    let headers = response.headers_mut();
    headers.insert(STREAM_NEXT_OFFSET, headers::offset_value(epoch, head));
    if is_closed {
        headers.insert(STREAM_CLOSED, TRUE);
    }
    let numbers = numbers.into_iter();
    headers.extend(numbers.map(|(name, number)| (name, HeaderValue::from(number))));
    response
}
