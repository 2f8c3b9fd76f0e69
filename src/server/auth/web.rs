//! The policy for browsers: allowed hosts, allowed origins, pages that may embed the server's own, and where users sign in.

use std::net::IpAddr;

use crate::server::auth::host::{HostPolicy, PublicHost};
use crate::server::auth::origin::{Origin, OriginPolicy};
use crate::server::auth::page_url::PageUrl;

/// The settings from which the policy of each listener is made.
#[derive(Clone, Debug, Default)]
pub struct WebSettings {
    /// Public host names of the server.
    pub public: Vec<PublicHost>,
    /// Allowed origins besides the server's own.
    pub origins: OriginPolicy,
    /// Origins that may embed the page in a frame.
    pub embedding: Embedding,
    /// The URLs at which users sign in.
    pub sign_in: SignInUrls,
}

impl WebSettings {
    /// Returns the policy of the listener at `listen` that serves the page and the API.
    pub fn of_page(&self, listen: IpAddr) -> WebPolicy {
        let mut origins = self.origins.clone();
        origins
            .listed
            .extend(self.public.iter().filter_map(PublicHost::origin));

        let hosts = HostPolicy::for_public_listener(listen, self.public.clone());
        WebPolicy {
            hosts,
            origins,
            embedding: self.embedding.clone(),
            sign_in: self.sign_in.clone(),
        }
    }

    /// Returns the policy of the ops listener at `listen`. It allows no other origin.
    pub fn of_ops(&self, listen: IpAddr) -> WebPolicy {
        let hosts = HostPolicy::for_ops_listener(listen, self.public.clone());
        WebPolicy {
            hosts,
            origins: OriginPolicy::default(),
            embedding: Embedding::default(),
            sign_in: SignInUrls::default(),
        }
    }
}

/// The policy of one listener.
#[derive(Clone, Debug)]
pub struct WebPolicy {
    /// Allowed hosts.
    pub hosts: HostPolicy,
    /// Allowed origins.
    pub origins: OriginPolicy,
    /// Origins that may embed the page in a frame.
    pub embedding: Embedding,
    /// The URLs at which users sign in.
    pub sign_in: SignInUrls,
}

/// The URLs at which the users of the page sign in.
#[derive(Clone, Debug, Default)]
pub struct SignInUrls {
    /// The endpoint that answers the page with a token of the user.
    pub token: Option<PageUrl>,
    /// The page to which users are linked.
    pub page: Option<PageUrl>,
}

/// The origins whose pages may embed the server's page in a frame. A page that cannot be embedded is protected from
/// clickjacking (CWE-1021).
#[derive(Clone, Debug, Default)]
pub struct Embedding {
    /// True if every origin may embed the page.
    pub any: bool,
    /// Origins that may embed the page.
    pub listed: Vec<Origin>,
}

impl Embedding {
    /// Returns the value of the directive `frame-ancestors` (CSP 3 section 6.4.2.1).
    pub fn frame_ancestors(&self) -> String {
        match self.listed.as_slice() {
            _ if self.any => "*".to_owned(),
            [] => "'none'".to_owned(),
            listed => listed
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}
