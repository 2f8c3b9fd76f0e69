//! Settings of who may come in.

use crate::server::auth::{OriginPolicy, Proxies};
use crate::server::config::reading::Reading;
use crate::server::config::value::{self, AllowedOrigin};

pub(super) fn origins(reading: &mut Reading<'_>) -> OriginPolicy {
    let origins = reading.values("allow-origin", value::origin);
    OriginPolicy {
        any: origins.contains(&AllowedOrigin::Any),
        null: origins.contains(&AllowedOrigin::Null),
        listed: origins.into_iter().filter_map(AllowedOrigin::listed).collect(),
    }
}

pub(super) fn proxies(reading: &mut Reading<'_>) -> Option<Proxies> {
    let trusted = reading.values("trusted-proxy", value::network);
    let header = reading.value("proxy-header", value::proxy_header);
    Some(Proxies { trusted, header: header? })
}
