//! Settings of who may come in.

use std::path::PathBuf;

use crate::server::auth::{Embedding, OriginPolicy, Proxies, Verifier, WebSettings};
use crate::server::config::reading::Reading;
use crate::server::config::value::{self, Allowed};

pub(super) fn web(reading: &mut Reading<'_>) -> WebSettings {
    let public = reading.values("public-host", value::public_host);
    let origins = reading.values("allow-origin", value::origin);
    let embedders = reading.values("allow-embed", value::embedder);
    WebSettings {
        public,
        origins: OriginPolicy {
            any: origins.contains(&Allowed::Any),
            null: origins.contains(&Allowed::Null),
            listed: origins.into_iter().filter_map(Allowed::listed).collect(),
        },
        embedding: Embedding {
            any: embedders.contains(&Allowed::Any),
            listed: embedders.into_iter().filter_map(Allowed::listed).collect(),
        },
    }
}

pub(super) fn proxies(reading: &mut Reading<'_>) -> Option<Proxies> {
    let trusted = reading.values("trusted-proxy", value::network);
    let header = reading.value("proxy-header", value::proxy_header);
    Some(Proxies { trusted, header: header? })
}

/// Who is let in, and the file that its keys come from; none in open mode.
pub(super) fn verifier(reading: &mut Reading<'_>) -> Option<(Verifier, Option<PathBuf>)> {
    let keys = reading.value("auth-key-file", value::key_file);
    let anonymous = reading.value("anonymous", value::anonymous);
    Some(match (keys?, anonymous?) {
        (Some((file, keys)), anonymous) => (Verifier::new(keys, anonymous), Some(file)),
        (None, _) => (Verifier::open(), None),
    })
}
