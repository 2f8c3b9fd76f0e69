//! Chinese, simplified characters.

use super::Text;
use crate::app::live::Reason;

pub(super) const ZH_CN: Text = Text {
    description: "每个人按同样的顺序看到同样的消息的房间。",
    unscripted: "消息功能目前需要 JavaScript，而此浏览器已将其关闭。",

    messages: "消息",
    empty: "还没有消息",
    empty_promise: |room| format!("从现在起，{room} 里的消息会显示在这里，房间里的每个人都能看到。"),
    binary: |bytes| format!("二进制消息，{bytes} 字节"),
    missing: |count| format!("此处缺少 {count} 条消息"),
    missing_some: "此处缺少消息",
    missing_perhaps: "此处可能缺少消息",
    sending: "正在发送",
    waiting: "等待连接",
    not_sent: |reason| match reason {
        Reason::TooFast => "未发送，消息太频繁",
        Reason::TooLong => "未发送，内容太长",
        Reason::Unavailable => "未发送，服务器未能保存",
        Reason::Refused => "未发送，服务器拒绝",
    },
    retry: "重试",

    message_to: |room| format!("在 {room} 里发消息"),
    send: "发送",
    keys: "Enter 发送，Shift+Enter 换行",
    kept_refused: "服务器拒绝了连接。文字保留在这里，请重新加载页面再试。",

    here: |count| format!("{count} 人在线"),

    connecting: "正在连接",
    live: "已连接",
    reconnecting: "等待重新连接",
    reconnecting_in: |seconds| format!("{seconds} 秒后重新连接"),
    offline: "离线",
    refused: "服务器拒绝连接",
};
