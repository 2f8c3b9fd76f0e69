//! The frames of `fanfare.v1` as JSON, which `protocol` documents.

use super::json::{Draft, Fields};
use crate::protocol::{
    Body, Command, ErrorCode, GapReason, Key, Offset, Publication, Push, Recovery, RoomName,
    UserId, Welcome,
};

/// Decodes a frame of the server; `None` if its type is unknown or it is malformed.
pub fn decode(json: &str) -> Option<Push> {
    let fields = Fields::parse(json)?;

    Some(match fields.text("type")?.as_str() {
        "welcome" => Push::Welcome(welcome(&fields)?),
        "message" => Push::Message(publication(&fields)?),
        "ack" => Push::Ack {
            key: key(&fields)?,
            offset: offset(&fields, "offset")?,
            duplicate: fields.is("duplicate"),
        },
        "history" => Push::History {
            messages: fields
                .objects("messages")?
                .iter()
                .filter_map(publication)
                .collect(),
            more: fields.is("more"),
        },
        "gap" => Push::Gap {
            after: offset(&fields, "after")?,
            before: offset(&fields, "before")?,
            count: fields.number("count"),
            reason: match fields.text("reason")?.as_str() {
                "lagged" => GapReason::Lagged,
                "damaged" => GapReason::Damaged,
                _ => GapReason::Expired,
            },
        },
        "presence" => Push::Presence {
            count: fields.number("count")? as usize,
            joined: users(&fields, "joined").unwrap_or_default(),
            left: users(&fields, "left").unwrap_or_default(),
        },
        "error" => Push::Error {
            code: error_code(&fields.text("code")?),
            message: fields.text("message")?,
            retry: fields.is("retry"),
            key: key(&fields),
        },
        "deleted" => Push::Deleted {
            offset: offset(&fields, "offset")?,
            at: fields.number("at")?,
        },
        "drain" => Push::Drain {
            reconnect_after_ms: fields.number("reconnect_after_ms")?,
        },
        "token" => Push::Token {
            expires_at: fields.number("expires_at"),
        },
        "pong" => Push::Pong,
        _ => return None,
    })
}

/// Encodes a frame of the client.
pub fn encode(command: &Command) -> String {
    let draft = |kind: &str| Draft::default().with("type", kind);

    match command {
        Command::Say { text, key: None } => draft("say").with("text", text.as_str()),
        Command::Say {
            text,
            key: Some(key),
        } => draft("say")
            .with("text", text.as_str())
            .with("key", key.as_str()),
        Command::Token { token } => draft("token").with("token", token.reveal()),
        Command::Ping => draft("ping"),
        Command::History { before, limit } => {
            let mut draft = draft("history");
            if let Some(before) = before {
                draft = draft.with("before", before.0 as f64);
            }
            if let Some(limit) = limit {
                draft = draft.with("limit", *limit);
            }
            draft
        }
    }
    .encode()
}

/// Decodes one message of the log.
pub fn publication(fields: &Fields) -> Option<Publication> {
    Some(Publication {
        offset: offset(fields, "offset")?,
        prev: offset(fields, "prev")?,
        at: fields.number("at")?,
        from: UserId::parse(&fields.text("from")?).ok()?,
        body: match fields.text("text") {
            Some(text) => Body::Text(text),
            None if fields.is("deleted") => Body::Deleted(true),
            None => Body::Data(fields.text("data")?),
        },
        key: key(fields),
    })
}

fn welcome(fields: &Fields) -> Option<Welcome> {
    Some(Welcome {
        room: RoomName::parse(&fields.text("room")?).ok()?,
        id: UserId::parse(&fields.text("id")?).ok()?,
        connection: fields.number("connection")?,
        epoch: fields.text("epoch")?.into(),
        head: offset(fields, "head")?,
        first: offset(fields, "first")?,
        recovery: match fields.text("recovery")?.as_str() {
            "resumed" => Recovery::Resumed,
            "lost" => Recovery::Lost,
            _ => Recovery::Fresh,
        },
        heartbeat_ms: fields.number("heartbeat_ms")?,
        expire_ms: fields.number("expire_ms")?,
        max_message: fields.number("max_message")? as usize,
        message_rate: fields.number("message_rate").map(|rate| rate as u32),
        message_burst: fields.number("message_burst").map(|burst| burst as u32),
        count: fields.number("count")? as usize,
        members: users(fields, "members"),
    })
}

fn offset(fields: &Fields, name: &str) -> Option<Offset> {
    fields.number(name).map(Offset)
}

fn key(fields: &Fields) -> Option<Key> {
    Key::parse(&fields.text("key")?).ok()
}

fn users(fields: &Fields, name: &str) -> Option<Vec<UserId>> {
    Some(
        fields
            .texts(name)?
            .iter()
            .filter_map(|id| UserId::parse(id).ok())
            .collect(),
    )
}

/// Returns the code of this name; unknown names become [`ErrorCode::BadJson`].
fn error_code(code: &str) -> ErrorCode {
    match code {
        "rate_limited" => ErrorCode::RateLimited,
        "store_unavailable" => ErrorCode::StoreUnavailable,
        "unknown_type" => ErrorCode::UnknownType,
        "bad_field" => ErrorCode::BadField,
        "not_text" => ErrorCode::NotText,
        "bad_token" => ErrorCode::BadToken,
        "not_allowed" => ErrorCode::NotAllowed,
        _ => ErrorCode::BadJson,
    }
}
