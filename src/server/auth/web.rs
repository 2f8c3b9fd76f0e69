//! What browsers may do: ask under which names, from which pages, show the page in whose frames.

use std::net::IpAddr;

use crate::server::auth::host::{HostPolicy, PublicHost};
use crate::server::auth::origin::{Origin, OriginPolicy};

/// What the settings say of it, for a listener at any address.
#[derive(Clone, Debug, Default)]
pub struct WebSettings {
    /// The names that the server is reached by.
    pub public: Vec<PublicHost>,
    /// Which pages may ask, besides its own.
    pub origins: OriginPolicy,
    /// Who may show its page in a frame.
    pub embedding: Embedding,
}

impl WebSettings {
    /// For the page and the API at `listen`.
    pub fn of_page(&self, listen: IpAddr) -> WebPolicy {
        let mut origins = self.origins.clone();
        origins
            .listed
            .extend(self.public.iter().filter_map(PublicHost::origin));
        let hosts = HostPolicy::of_page(listen, self.public.clone());
        WebPolicy {
            hosts,
            origins,
            embedding: self.embedding.clone(),
        }
    }

    /// For the operator's answers at `listen`, which are for no page but their own.
    pub fn of_ops(&self, listen: IpAddr) -> WebPolicy {
        let hosts = HostPolicy::of_ops(listen, self.public.clone());
        WebPolicy {
            hosts,
            origins: OriginPolicy::default(),
            embedding: Embedding::default(),
        }
    }
}

/// What a listener lets browsers do.
#[derive(Clone, Debug)]
pub struct WebPolicy {
    /// Under which names it is asked.
    pub hosts: HostPolicy,
    /// Which pages ask.
    pub origins: OriginPolicy,
    /// Who shows its page in a frame.
    pub embedding: Embedding,
}

/// Which pages may show the server's own in a frame. Where none may, nobody can be made to click on what they do
/// not see (CWE-1021).
#[derive(Clone, Debug, Default)]
pub struct Embedding {
    /// Every page.
    pub any: bool,
    /// Pages of these origins.
    pub listed: Vec<Origin>,
}

impl Embedding {
    /// As `frame-ancestors` says it (CSP 3 section 6.4.2.1).
    pub fn sources(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_embed_the_page_but_who_is_named() {
        let listed = ["https://Shop.example", "http://a.example:8080"]
            .map(|text| Origin::parse(text).expect("one"));
        let named = Embedding {
            any: false,
            listed: listed.to_vec(),
        };
        assert_eq!(Embedding::default().sources(), "'none'");
        assert_eq!(
            named.sources(),
            "https://shop.example http://a.example:8080"
        );
        assert_eq!(Embedding { any: true, ..named }.sources(), "*");
    }
}
