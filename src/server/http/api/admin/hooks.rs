//! `GET …/hooks`, and `POST …/hooks/{hook}/pause`, `…/resume` and `…/replay`.

use axum::Json;
use axum::extract::{Path, State as Shared};
use tracing::info;
use utoipa::IntoResponses;

use crate::protocol::admin::{HookList, HookSummary, ReplayRequest};
use crate::server::hooks::HookCommand;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{BodyErrors, OperatorErrors, read};
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::metrics::{self, AdminAction};

/// The errors of a command without a body, for its description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum CommandErrors {
    /// `no_such_hook`
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// `unsupported_media_type`: send `application/json`
    #[response(status = 415)]
    MediaType(ErrorBody),
    /// `not_kept`: the change cannot be stored
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// List the hooks.
///
/// For operators of every room.
#[utoipa::path(
    get,
    path = "/api/v1/admin/hooks",
    responses((status = 200, description = "The hooks of the settings", body = HookList), OperatorErrors),
)]
pub(super) async fn hooks(
    Shared(state): Shared<AppState>,
    operator: Operator,
) -> Result<Json<HookList>, ApiError> {
    operator.check_all(None)?;
    let hooks = state.hooks.list().await;
    Ok(Json(HookList { hooks }))
}

/// Pause a hook.
///
/// Nothing is delivered until it is resumed, also after a restart. For operators of every room.
#[utoipa::path(
    post,
    path = "/api/v1/admin/hooks/{hook}/pause",
    params(("hook" = String, Path, description = "The name of the hook")),
    responses(
        (status = 200, description = "The hook is paused", body = HookSummary),
        OperatorErrors,
        CommandErrors,
    ),
)]
pub(super) async fn pause(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(hook): Path<String>,
) -> Result<Json<HookSummary>, ApiError> {
    command_hook(&state, &operator, &hook, HookCommand::Pause).await
}

/// Resume a hook.
///
/// The hook continues after the last message that was delivered, at once. This also enables a hook whose receiver has
/// answered 410. For operators of every room.
#[utoipa::path(
    post,
    path = "/api/v1/admin/hooks/{hook}/resume",
    params(("hook" = String, Path, description = "The name of the hook")),
    responses(
        (status = 200, description = "The hook is active", body = HookSummary),
        OperatorErrors,
        CommandErrors,
    ),
)]
pub(super) async fn resume(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(hook): Path<String>,
) -> Result<Json<HookSummary>, ApiError> {
    command_hook(&state, &operator, &hook, HookCommand::Resume).await
}

/// Deliver messages again.
///
/// The hook continues with the message at `from`, or with a later one: messages that follow are skipped. A hook that is
/// paused stays so. For operators of every room.
#[utoipa::path(
    post,
    path = "/api/v1/admin/hooks/{hook}/replay",
    params(("hook" = String, Path, description = "The name of the hook")),
    request_body(content = ReplayRequest),
    responses(
        (status = 200, description = "The position has moved", body = HookSummary),
        OperatorErrors,
        BodyErrors,
        (status = 404, description = "`no_such_hook`; `no_such_message`: the offset is that of a later message", body = ErrorBody),
        (status = 503, description = "`not_kept`: the change cannot be stored; `memory_full`", body = ErrorBody),
    ),
)]
pub(super) async fn replay(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(hook): Path<String>,
    body: RequestBody,
) -> Result<Json<HookSummary>, ApiError> {
    operator.check_all(None)?;
    let ReplayRequest { from } = read(body).await?;
    command_hook(&state, &operator, &hook, HookCommand::Replay(from)).await
}

/// Executes `command` on the hook `name` on behalf of `operator`.
pub(in crate::server::http) async fn command_hook(
    state: &AppState,
    operator: &Operator,
    name: &str,
    command: HookCommand,
) -> Result<Json<HookSummary>, ApiError> {
    operator.check_all(None)?;

    let executed = state.hooks.command(name, command).await;
    let summary = executed.map_err(AdminError::from)?;

    let action = match command {
        HookCommand::Pause => AdminAction::PauseHook,
        HookCommand::Resume => AdminAction::ResumeHook,
        HookCommand::Replay(_) => AdminAction::ReplayHook,
    };
    metrics::count_admin_action(action, 1);
    info!(%operator, hook = name, ?command, "commanded a hook");
    Ok(Json(summary))
}
