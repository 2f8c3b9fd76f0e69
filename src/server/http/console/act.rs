//! What a form of the page asks to be done, and the doing of it by way of the API's own functions.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::app::admin::{Done, Place};
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::AppState;
use crate::server::http::api::admin::bans::{self, NewBan};
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{closing, connections, messages};
use crate::server::http::error::{AdminError, ApiError};
use crate::server::http::extract;

/// A form's fields, of each name the last.
#[derive(Debug)]
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// What a browser wrote.
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Where the operator stood.
    pub(super) fn back(&self) -> Place {
        Place::parse(self.text("back")).quiet()
    }

    /// Does it, in the name of `operator`.
    pub(super) async fn act(
        &self,
        state: &AppState,
        operator: &Operator,
    ) -> Result<Done, ApiError> {
        match self.text("act") {
            "kick" => {
                let number = connections::number("number", self.text("number"))?;
                connections::end(state, operator, number).await?;
                Ok(Done::Kicked)
            }
            "ban" => Ok(Done::Banned(
                bans::impose(state, operator, self.ban()?).await?.kicked,
            )),
            "lift" => {
                let whom = bans::whom(self.id("id")?, self.address("address")?)
                    .ok_or(AdminError::NoBan)?;
                bans::lift(state, operator, whom, self.room()?).await?;
                Ok(Done::Lifted)
            }
            "close" => {
                let room = self.named_room()?;
                Ok(Done::Closed(
                    closing::shut(state, operator, &room, self.reason()).await?,
                ))
            }
            "open" => {
                closing::reopen(state, operator, &self.named_room()?).await?;
                Ok(Done::Opened)
            }
            "delete" => {
                let offset = extract::offset("offset", self.text("offset"))?;
                messages::erase(state, operator, &self.named_room()?, offset).await?;
                Ok(Done::Deleted)
            }
            _ => Err(ApiError::Body(
                "act must be kick, ban, lift, close, open or delete".to_owned(),
            )),
        }
    }

    /// The ban that it asks for: of the id or the address of a connection, by `kind`, or of `whom` it names.
    fn ban(&self) -> Result<NewBan, ApiError> {
        let (id, address) = match self.text("kind") {
            "id" => (self.id("id")?, None),
            "address" => (None, self.address("address")?),
            _ => match self.text("whom").parse::<IpAddr>() {
                Ok(address) => (None, Some(address)),
                Err(_) => (self.id("whom")?, None),
            },
        };
        let seconds = match self.text("seconds") {
            "" => None,
            seconds => Some(seconds.parse().map_err(|_| ApiError::Parameter {
                name: "seconds",
                allowed: "a number, or empty for a ban without an end",
            })?),
        };
        Ok(NewBan {
            id,
            address,
            room: self.room()?,
            seconds,
            reason: self.reason(),
        })
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    fn reason(&self) -> Option<String> {
        Some(self.text("reason").to_owned())
    }

    fn id(&self, name: &str) -> Result<Option<UserId>, ApiError> {
        // Not trimmed: an id may begin or end with a space, and is then another one.
        let id = self.0.get(name).filter(|id| !id.is_empty());
        Ok(id.map(|id| UserId::parse(id)).transpose()?)
    }

    fn address(&self, name: &'static str) -> Result<Option<IpAddr>, ApiError> {
        let address = Some(self.text(name)).filter(|address| !address.is_empty());
        address
            .map(|address| extract::address(name, address))
            .transpose()
    }

    /// The room that it names, if it names one.
    fn room(&self) -> Result<Option<RoomName>, ApiError> {
        let room = Some(self.text("room")).filter(|room| !room.is_empty());
        Ok(room.map(RoomName::parse).transpose()?)
    }

    /// The room that it must name.
    fn named_room(&self) -> Result<RoomName, ApiError> {
        Ok(RoomName::parse(self.text("room"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(body: &str) -> Result<NewBan, ApiError> {
        Form::read(body.as_bytes()).ban()
    }

    #[test]
    fn a_ban_is_of_what_was_chosen_or_of_what_was_typed() {
        let of_id = ban("kind=id&id=%E6%9D%8E+&address=192.0.2.1&room=&seconds=600&reason=x")
            .expect("a ban");
        assert_eq!(
            (of_id.id.as_ref().map(UserId::as_str), of_id.address),
            (Some("李 "), None)
        );
        assert_eq!(
            (of_id.room, of_id.seconds, of_id.reason.as_deref()),
            (None, Some(600), Some("x"))
        );
        let of_address =
            ban("kind=address&id=ann&address=192.0.2.1&room=class&seconds=").expect("a ban");
        assert!(
            of_address.id.is_none() && of_address.address.is_some() && of_address.seconds.is_none()
        );
        assert_eq!(of_address.room.map(String::from).as_deref(), Some("class"));
        assert!(ban("whom=2001:db8::1").expect("a ban").address.is_some());
        assert!(ban("whom=ann").expect("a ban").id.is_some());
        assert!(ban("whom=ann&seconds=soon").is_err() && ban("whom=ann&room=No").is_err());
    }
}
