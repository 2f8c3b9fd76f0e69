//! Chinese, simplified characters.

use super::Text;
use crate::app::live::{Day, Reason, Refusal};

const WEEKDAYS: [&str; 7] = ["日", "一", "二", "三", "四", "五", "六"];

pub(super) const ZH_CN: Text = Text {
    language: "中文",
    description: "每个人按同样的顺序看到同样的消息的房间。",
    unscripted: "此浏览器已关闭 JavaScript：重新加载页面可查看新消息。时间为 UTC。",

    menu: "房间、成员和设置",
    rooms: "房间",
    other_room: "其他房间",
    room_rule: "1 到 128 个字符：A-Z a-z 0-9 - _ . : @ ~ /",
    go: "前往",
    members: "在线成员",
    here: |count| format!("{count} 人在线"),
    you: "（你）",
    your_name: "你的名字",
    change: "更改",
    renamed: "名字已更改。",
    bad_name: "名字须为 1 到 64 个字符。",
    unverified: "这里的名字未经验证。",
    rename_waits: "还有消息没有发出，之后再更改名字。",
    theme: "配色",
    theme_system: "跟随系统",
    theme_light: "浅色",
    theme_dark: "深色",

    search: "搜索",
    search_in: "在已加载的消息中搜索",
    older: "更早",
    newer: "更新",
    no_match: "没有找到",
    matches: |at, count| format!("第 {at} 条，共 {count} 条"),

    share: "分享",
    address: "此房间的地址",
    qr: "地址二维码",
    copy: "复制",
    copied: "已复制",

    connection: "连接",
    round_trip: "往返时间",
    position: "位置",
    resumes: "恢复次数",
    unsent: "待发送",
    unknown: "未知",
    measure: "测量",
    break_off: "断开我的连接",

    messages: "消息",
    log_keys: "用方向键逐条浏览消息。",
    empty: "还没有消息",
    empty_promise: |room| {
        format!("从现在起，{room} 里的消息会显示在这里，房间里的每个人都能看到。")
    },
    day: |Day {
              weekday,
              month,
              date,
          }| format!("{}月{date}日星期{}", month + 1, WEEKDAYS[weekday]),
    unread_line: "你离开后的新消息",
    to_end: |count| match count {
        0 => "回到最新".to_owned(),
        count => format!("{count} 条新消息"),
    },
    deleted: "消息已删除",
    binary: |bytes| format!("二进制消息，{bytes} 字节"),
    missing: |count| format!("此处缺少 {count} 条消息"),
    missing_some: "此处缺少消息",
    missing_perhaps: "此处可能缺少消息",
    load: "加载",
    loading: "正在加载",
    gone: |count| format!("{count} 条消息已不存在：服务器不再保存"),
    gone_some: "消息已不存在：服务器不再保存",
    queued: "排队中",
    waiting: "等待连接",
    sending: "正在发送",
    sent: "已送达",
    not_sent: |reason| match reason {
        Reason::TooFast => "未发送，消息太频繁",
        Reason::TooLong => "未发送，内容太长",
        Reason::Unavailable => "未发送，服务器未能保存",
        Reason::NotAllowed => "未发送，你在这里只能阅读",
        Reason::Refused => "未发送，服务器拒绝",
    },
    retry: "重试",
    take_back: "编辑",

    message_to: |room| format!("在 {room} 里发消息"),
    send: "发送",
    keys: "Enter 发送，Shift+Enter 换行",
    kept_refused: "服务器拒绝了连接。文字保留在这里，请重新加载页面再试。",

    connecting: "正在连接",
    live: "已连接",
    reconnecting: "等待重新连接",
    reconnecting_in: |seconds| format!("{seconds} 秒后重新连接"),
    retry_now: "立即重试",
    offline: "离线",
    stalled: "已连接，消息会延迟",
    refused: |why| match why {
        Refusal::NoToken => "请用新的链接进入：此链接没有令牌，或令牌已过期",
        Refusal::NotAllowed => "你不能进入这个房间",
        Refusal::Other => "服务器拒绝连接",
    },
};
