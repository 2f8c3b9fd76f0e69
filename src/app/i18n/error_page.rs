//! The texts of the error page. Only the server uses them.

use super::Locale;
use crate::app::error_page::ProblemKind;

/// The texts of one language.
#[derive(Debug)]
pub struct ProblemText {
    /// The heading.
    pub title: fn(&ProblemKind) -> String,
    /// The advice or the rule that applies.
    pub advice: fn(&ProblemKind) -> &'static str,
    /// The text before the link to the suggested room.
    pub suggestion: &'static str,
    /// The text of the link to the default room.
    pub to_lobby: &'static str,
    /// The text before the server's message, which is in English.
    pub server_says: &'static str,
}

impl Locale {
    /// Returns the texts of the error page.
    pub const fn problem_text(self) -> &'static ProblemText {
        match self {
            Self::En => &EN,
            Self::ZhCn => &ZH_CN,
        }
    }
}

const EN: ProblemText = ProblemText {
    title: |kind| match kind {
        ProblemKind::NoRoom { asked } => format!("“{asked}” is not the name of a room"),
        ProblemKind::NotFound => "This page does not exist".to_owned(),
        ProblemKind::Forbidden => "You may not do that here".to_owned(),
        ProblemKind::Method => "This page cannot be used that way".to_owned(),
        ProblemKind::Misdirected => "This server does not answer to this name".to_owned(),
        ProblemKind::TooMany => "Too many requests".to_owned(),
        ProblemKind::Unavailable => "The server cannot do that now".to_owned(),
        ProblemKind::Other => "That did not work".to_owned(),
    },
    advice: |kind| match kind {
        ProblemKind::NoRoom { .. } => {
            "A room’s name has 1 to 128 characters: A-Z a-z 0-9 - _ . : @ ~ and / between parts"
        }
        ProblemKind::NotFound => "The address may be mistyped, or the page is gone.",
        ProblemKind::Forbidden => "Open the page again, or ask for a new link.",
        ProblemKind::Method => "Go back and open the page again.",
        ProblemKind::Misdirected => "Use the address that the people who run this server gave you.",
        ProblemKind::TooMany | ProblemKind::Unavailable => "Try again in a few seconds.",
        ProblemKind::Other => "Go back and try again.",
    },
    suggestion: "Did you mean",
    to_lobby: "Go to the lobby",
    server_says: "The server says:",
};

const ZH_CN: ProblemText = ProblemText {
    title: |kind| match kind {
        ProblemKind::NoRoom { asked } => format!("“{asked}”不能用作房间名"),
        ProblemKind::NotFound => "页面不存在".to_owned(),
        ProblemKind::Forbidden => "没有权限".to_owned(),
        ProblemKind::Method => "此页面不支持这种操作".to_owned(),
        ProblemKind::Misdirected => "此服务器不使用这个域名".to_owned(),
        ProblemKind::TooMany => "请求过于频繁".to_owned(),
        ProblemKind::Unavailable => "服务器暂时无法处理".to_owned(),
        ProblemKind::Other => "操作失败".to_owned(),
    },
    advice: |kind| match kind {
        ProblemKind::NoRoom { .. } => {
            "房间名为 1 到 128 个字符，可用 A-Z a-z 0-9 - _ . : @ ~，以及分隔各段的 /"
        }
        ProblemKind::NotFound => "地址可能有误，或页面已被移除。",
        ProblemKind::Forbidden => "请重新打开页面，或索取新的链接。",
        ProblemKind::Method => "请返回并重新打开页面。",
        ProblemKind::Misdirected => "请使用服务器管理员提供的地址。",
        ProblemKind::TooMany | ProblemKind::Unavailable => "请稍等几秒再试。",
        ProblemKind::Other => "请返回重试。",
    },
    suggestion: "你要找的可能是",
    to_lobby: "前往 lobby 房间",
    server_says: "服务器的说明：",
};
