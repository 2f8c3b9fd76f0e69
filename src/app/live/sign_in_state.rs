//! The sign-in of the user on a server that verifies names, by a token or by a proxy.

use std::time::Duration;

use leptos::prelude::*;

use super::connection_status::Refusal;
use super::token_claims;
use crate::app::snapshot::SignIn;
use crate::browser::storage::PageStorage;
use crate::browser::{clock, http, token};
use crate::protocol::{RoomName, Token, UserId};

/// The sign-in of the user.
#[derive(Clone, Copy, Debug)]
pub struct SignInState {
    /// The user, once the server has verified the name.
    pub user: RwSignal<Option<UserId>>,
    /// True if the proxy that named the user does not do so any more.
    pub has_ended: RwSignal<bool>,
    settings: StoredValue<SignIn>,
    /// True if a proxy named the user. A token is not needed then.
    is_by_proxy: bool,
    token: StoredValue<Option<Token>>,
    /// The claims of the token as JSON, if the page can read them.
    claims: StoredValue<Option<Vec<u8>>>,
    /// True if the server has refused the token, or the token could not be renewed when it expired.
    is_rejected: StoredValue<bool>,
}

impl SignInState {
    /// Creates the state of a page whose request was authenticated as `user`, if it was.
    pub(super) fn new(user: Option<UserId>, settings: SignIn) -> Self {
        Self {
            is_by_proxy: user.is_some(),
            user: RwSignal::new(user),
            has_ended: RwSignal::new(false),
            settings: StoredValue::new(settings),
            token: StoredValue::new(None),
            claims: StoredValue::new(None),
            is_rejected: StoredValue::new(false),
        }
    }

    /// Returns the URL of the page at which users sign in.
    pub(in crate::app) fn page_url(self) -> Option<String> {
        self.settings
            .with_value(|settings| settings.page_url.clone())
    }

    /// Returns true if a token can sign in the user.
    pub(in crate::app) fn accepts_tokens(self) -> bool {
        self.settings.with_value(|settings| settings.accepts_tokens)
    }

    /// Returns the URL at which the page gets a token, unless it needs none.
    pub(super) fn token_url(self) -> Option<String> {
        let url = self
            .settings
            .with_value(|settings| settings.token_url.clone());
        url.filter(|_| !self.is_by_proxy)
    }

    /// Returns the token.
    pub(super) fn token(self) -> Option<Token> {
        self.token.get_value()
    }

    /// Restores the token of the link, or else the stored one.
    pub(super) fn restore(self, storage: &PageStorage) {
        self.use_token(token::token(storage));
    }

    /// Sets the token to a new one, and stores it.
    pub(super) fn renew(self, storage: &PageStorage, renewed: Token) {
        token::store(storage, &renewed);
        self.use_token(Some(renewed));
    }

    /// Removes the token, because the user is not signed in any more.
    pub(super) fn sign_out(self, storage: &PageStorage) {
        let had_token = self.token.with_value(Option::is_some);
        token::forget(storage);
        self.use_token(None);
        self.is_rejected.set_value(had_token);
    }

    fn use_token(self, token: Option<Token>) {
        self.claims
            .set_value(token.as_ref().and_then(token::claims));
        self.token.set_value(token);
        self.is_rejected.set_value(false);
    }

    /// Records that the server has refused the token. Returns true if the page can get another one.
    pub(super) fn on_token_refused(self) -> bool {
        let can_renew = self.token_url().is_some() && self.token.with_value(Option::is_some);
        if can_renew {
            self.is_rejected.set_value(true);
        }
        can_renew
    }

    /// Returns true if the server can be expected to accept the token, or needs none.
    pub(super) fn is_usable(self) -> bool {
        let has_token = self.token.with_value(Option::is_some);
        self.is_by_proxy || (has_token && !self.is_rejected.get_value() && !self.is_expired())
    }

    /// Returns the rest of the token's life; `None` if it has ended, or the page cannot read it.
    pub(super) fn life(self) -> Option<Duration> {
        let expires_at = self.expires_at()?;
        let life = expires_at.checked_sub(Duration::from_millis(clock::now()))?;
        Some(life).filter(|life| !life.is_zero())
    }

    /// Records that a connection could not be opened. If a proxy named the user, a request of `url` shows if it still does.
    pub(super) async fn on_connection_failed(self, url: &str) {
        if self.is_by_proxy {
            self.has_ended.set(http::needs_sign_in(url).await);
        }
    }

    /// Records that the server has accepted the connection of the user `id`. Without a token, the name is a guest's.
    pub(super) fn on_welcome(self, id: &UserId) {
        self.has_ended.set(false);
        self.user.set((!self.is_guest()).then(|| id.clone()));
    }

    /// Returns the reason of a server that refuses the token, or needs one, and records that the user is not signed in.
    pub(super) fn on_refused(self) -> Refusal {
        self.user.set(None);
        match self.token.with_value(Option::is_some) {
            true if !self.is_expired() => Refusal::TokenRefused,
            false if !self.is_rejected.get_value() => Refusal::NoToken,
            _ => Refusal::TokenExpired,
        }
    }

    /// Returns true if the user is not signed in.
    pub(super) fn is_guest(self) -> bool {
        !self.is_by_proxy && self.token.with_value(Option::is_none)
    }

    /// Returns true if the token grants no right to write in `room`, as far as the page can read it.
    pub(super) fn is_read_only(self, room: &RoomName) -> bool {
        let has_rights = self
            .settings
            .with_value(|settings| settings.has_rights_in_tokens);
        let is_read_only =
            |claims: &Vec<u8>| has_rights && token_claims::is_read_only(claims, room);
        self.claims
            .with_value(|claims| claims.as_ref().is_some_and(is_read_only))
    }

    fn is_expired(self) -> bool {
        let now = Duration::from_millis(clock::now());
        self.expires_at()
            .is_some_and(|expires_at| expires_at <= now)
    }

    /// Returns the expiry of the token, since 1970 UTC.
    fn expires_at(self) -> Option<Duration> {
        self.claims
            .with_value(|claims| token_claims::expires_at(claims.as_ref()?))
    }
}
