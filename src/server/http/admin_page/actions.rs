//! The actions of the page's forms, carried out by the functions of the API.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::app::admin::{AdminRoute, CompletedAction, PageAction};
use crate::protocol::admin::{BanRequest, BanTarget};
use crate::protocol::{RoomName, UserId};
use crate::server::hooks::HookCommand;
use crate::server::http::AppState;
use crate::server::http::api::admin::bans;
use crate::server::http::api::admin::connections::{kick_connection, parse_number};
use crate::server::http::api::admin::hooks::command_hook;
use crate::server::http::api::admin::messages::delete_message;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::room_state::{close_room, open_room};
use crate::server::http::error::{AdminError, ApiError};
use crate::server::http::extract;

/// The fields of a form. If a name occurs more than once, the last value counts.
#[derive(Debug)]
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Parses the body of a request.
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Returns the route from which the form was sent.
    pub(super) fn back(&self) -> AdminRoute {
        AdminRoute::parse(self.text("back")).base()
    }

    /// Carries out the action in the name of `operator`.
    pub(super) async fn act(
        &self,
        state: &AppState,
        operator: &Operator,
    ) -> Result<CompletedAction, ApiError> {
        let action = PageAction::parse(self.text("act")).ok_or_else(|| {
            let names = PageAction::ALL.map(PageAction::as_str);
            ApiError::Body(format!("act must be one of {}", names.join(", ")))
        })?;

        let mut kicked = None;
        match action {
            PageAction::Kick => {
                let number = parse_number(self.text("number"))?;
                kick_connection(state, operator, number).await?;
            }
            PageAction::Ban => {
                kicked = Some(bans::ban(state, operator, self.ban()?).await?.kicked);
            }
            PageAction::Unban => {
                let target = BanTarget::new(self.id("id")?, self.address("address")?)
                    .ok_or(AdminError::NoBan)?;
                bans::unban(state, operator, target, self.optional_room()?).await?;
            }
            PageAction::Close => {
                let closed = close_room(state, operator, self.room()?, self.reason()).await?;
                kicked = Some(closed.kicked);
            }
            PageAction::Open => {
                open_room(state, operator, self.room()?).await?;
            }
            PageAction::Delete => {
                let offset = extract::offset("offset", self.text("offset"))?;
                delete_message(state, operator, self.room()?, offset).await?;
            }
            PageAction::PauseHook => self.command(state, operator, HookCommand::Pause).await?,
            PageAction::ResumeHook => self.command(state, operator, HookCommand::Resume).await?,
            PageAction::ReplayHook => {
                let from = extract::offset("from", self.text("from"))?;
                let command = HookCommand::Replay(from);
                self.command(state, operator, command).await?;
            }
        }
        Ok(CompletedAction { action, kicked })
    }

    /// Executes `command` on the hook of the form.
    async fn command(
        &self,
        state: &AppState,
        operator: &Operator,
        command: HookCommand,
    ) -> Result<(), ApiError> {
        let hook = command_hook(state, operator, self.text("hook"), command).await;
        hook.map(drop)
    }

    /// Returns the ban of the `id` or the `address` of a connection, by `kind`, or of `whom`, which may be either.
    fn ban(&self) -> Result<BanRequest, ApiError> {
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

        Ok(BanRequest {
            id,
            address,
            room: self.optional_room()?,
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
        // Not trimmed: an id may begin or end with a space.
        let id = self.0.get(name).filter(|id| !id.is_empty());
        Ok(id.map(|id| UserId::parse(id)).transpose()?)
    }

    fn address(&self, name: &'static str) -> Result<Option<IpAddr>, ApiError> {
        match self.text(name) {
            "" => Ok(None),
            address => extract::address(name, address).map(Some),
        }
    }

    fn room(&self) -> Result<RoomName, ApiError> {
        Ok(RoomName::parse(self.text("room"))?)
    }

    fn optional_room(&self) -> Result<Option<RoomName>, ApiError> {
        match self.text("room") {
            "" => Ok(None),
            _ => self.room().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(body: &str) -> Result<BanRequest, ApiError> {
        Form::parse(body.as_bytes()).ban()
    }

    #[test]
    fn a_ban_is_of_the_id_that_was_chosen() {
        let ban = ban("kind=id&id=%E6%9D%8E+&address=192.0.2.1&room=&seconds=600&reason=x");

        let ban = ban.expect("a ban");
        assert_eq!(ban.id.as_ref().map(UserId::as_str), Some("李 "));
        assert_eq!(ban.address, None);
        assert_eq!(ban.room, None);
        assert_eq!(ban.seconds, Some(600));
        assert_eq!(ban.reason.as_deref(), Some("x"));
    }

    #[test]
    fn a_ban_is_of_the_address_that_was_chosen() {
        let ban = ban("kind=address&id=ann&address=192.0.2.1&room=class&seconds=");

        let ban = ban.expect("a ban");
        assert_eq!(ban.id, None);
        assert_eq!(ban.address, Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(ban.room.map(String::from).as_deref(), Some("class"));
        assert_eq!(ban.seconds, None);
    }

    #[test]
    fn a_ban_is_of_the_id_or_the_address_that_was_typed() {
        assert!(ban("whom=2001:db8::1").expect("a ban").address.is_some());
        assert!(ban("whom=ann").expect("a ban").id.is_some());

        assert!(ban("whom=ann&seconds=soon").is_err());
        assert!(ban("whom=ann&room=a%20b").is_err());
    }
}
