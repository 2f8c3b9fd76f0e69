//! Hooks: the receiver gets each message of its rooms at least once and in order, or a gap.

pub(crate) mod receiver;
mod delivery;
mod control;
mod events;
mod kills;
mod settings;
mod signatures;

use std::path::Path;

use serde_json::Value;

use self::receiver::Receiver;
use crate::harness::{Server, program};

/// A secret of receivers in these tests.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Returns the table of a hook.
pub(crate) fn hook(name: &str, url: &str, rooms: &[&str]) -> String {
    format!("[[hook]]\nname = {name:?}\nurl = {url:?}\nrooms = {rooms:?}\nsecret = {SECRET:?}\n")
}

/// A server with the hook `orders`, and its receiver.
pub(crate) struct Hooked {
    pub(crate) server: Server,
    pub(crate) receiver: Receiver,
}

impl Hooked {
    /// Starts a receiver, and a server whose hook `orders` gets the messages of `rooms`. `keys` are further keys of the hook.
    pub(crate) async fn start(rooms: &[&str], keys: &str, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let receiver = Receiver::start().await;
        let settings = hook("orders", &receiver.url(), rooms) + keys;

        Self {
            server: start(data.path(), &settings, flags).keeping(data),
            receiver,
        }
    }
}

/// Starts a server with the settings file `settings` in the folder `data`.
pub(crate) fn start(data: &Path, settings: &str, flags: &[&str]) -> Server {
    let file = data.join("settings.toml");
    std::fs::write(&file, settings).expect("written");

    let mut command = program();
    command.arg("--data").arg(data).arg("--config").arg(file);
    Server::start_by(&mut command, flags)
}

/// Publishes `texts` in `room`, one after the other.
async fn publish(server: &Server, room: &str, texts: &[&str]) {
    for text in texts {
        crate::client::publish(server, room, text).await;
    }
}

/// Returns the texts of the messages in `frames`.
fn texts(frames: &[Value]) -> Vec<&str> {
    let messages = frames.iter().filter(|frame| frame["type"] == "message");
    let texts = messages.map(|message| message["text"].as_str().expect("text"));
    texts.collect()
}
