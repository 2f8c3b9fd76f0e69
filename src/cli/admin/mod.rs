//! `fanfare admin`: the operator's calls from a shell, each one call of the admin API.
//!
//! People get a table or a sentence; with `--json` each row, or the answer, is a JSON object on a line.

mod call;
mod command;
mod table;

use std::fmt::Display;

use clap::ArgMatches;
use hyper::Method;
use serde_json::{Map, Value};

use crate::cli::client::Server;
use crate::cli::output;
use crate::cli::text::{escape, escape_json};
use crate::cli::{Failure, Mistakes, interrupted, start};
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::config::duration;

use call::Api;
use table::{Column, table};

pub(super) use command::command;

const ROOMS: &[Column] = &[
    ("ROOM", "name"),
    ("MEMBERS", "members"),
    ("CONNECTIONS", "connections"),
    ("HEAD", "head"),
    ("FIRST", "first"),
    ("IN MEMORY", "ring_messages"),
    ("BYTES", "ring_bytes"),
    ("CLOSED", "closed"),
];
const BANS: &[Column] = &[
    ("ID", "id"),
    ("ADDRESS", "address"),
    ("ROOM", "room"),
    ("UNTIL", "until"),
    ("REASON", "reason"),
    ("BY", "by"),
    ("SINCE", "since"),
];
const CLOSED: &[Column] = &[
    ("CLOSED", "room"),
    ("REASON", "reason"),
    ("BY", "by"),
    ("SINCE", "since"),
];
const CONNECTIONS: &[Column] = &[
    ("NUMBER", "number"),
    ("ID", "id"),
    ("ADDRESS", "address"),
    ("ROOM", "room"),
    ("SINCE", "since"),
    ("DIALECT", "dialect"),
    ("OFFSET", "offset"),
    ("BEHIND", "behind"),
    ("WAITING", "waiting"),
    ("SUB", "sub"),
];

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((act, matches)) = matches.subcommand() else {
        return Ok(());
    };
    let mut asked = Asked {
        matches,
        mistakes: Mistakes::default(),
    };
    let server = Server::given(matches, "--url", &mut asked.mistakes);
    let api = server.map(|server| Api {
        server,
        // Variables that are read from a file may end with its line end.
        token: asked.text("token").map(|token| token.trim().to_owned()),
    });
    let is_json = matches.get_flag("json");
    match act {
        "rooms" => {
            let prefix = asked
                .text("prefix")
                .map(|prefix| ("prefix", prefix.to_owned()));
            let api = asked.end(api)?;
            start(list(
                api,
                ("rooms", "name"),
                prefix.into_iter().collect(),
                ROOMS,
                is_json,
            ))
        }
        "connections" => {
            let which = asked.which();
            let api = asked.end(api)?;
            start(list(
                api,
                ("connections", "number"),
                which,
                CONNECTIONS,
                is_json,
            ))
        }
        "delete" => {
            let room = asked.checked("room", "ROOM", RoomName::parse);
            let offset = asked.checked("offset", "OFFSET", str::parse::<u64>);
            let (api, (room, offset)) = asked.end(api.zip(room.zip(offset)))?;
            let sentence = |answer: &Value| match &answer["before"] {
                Value::Bool(true) => "it was deleted before".to_owned(),
                _ => "deleted".to_owned(),
            };
            let path = format!("rooms/{room}/messages/{offset}");
            let call = Call {
                method: Method::DELETE,
                path,
                query: Vec::new(),
                body: None,
                sentence,
            };
            start(act_on(api, call, is_json))
        }
        "trace" => {
            let number = asked.checked("number", "NUMBER", str::parse::<u64>);
            let (api, number) = asked.end(api.zip(number))?;
            start(watch(api, number, is_json))
        }
        "bans" => start(list_bans(asked.end(api)?, is_json)),
        "ban" => {
            let mut ban = object(asked.which());
            if let Some(time) = asked.checked("for", "--for", duration) {
                ban["seconds"] = time.as_secs().max(1).into();
            }
            if let Some(reason) = asked.text("reason") {
                ban["reason"] = reason.into();
            }
            let api = asked.end(api)?;
            let sentence = |answer: &Value| format!("banned, {} closed", answer["kicked"]);
            let (path, body) = ("bans".to_owned(), Some(ban));
            start(act_on(
                api,
                Call {
                    method: Method::POST,
                    path,
                    query: Vec::new(),
                    body,
                    sentence,
                },
                is_json,
            ))
        }
        "unban" => {
            let query = asked.which();
            let api = asked.end(api)?;
            let sentence = |_: &Value| "lifted".to_owned();
            let path = "bans".to_owned();
            start(act_on(
                api,
                Call {
                    method: Method::DELETE,
                    path,
                    query,
                    body: None,
                    sentence,
                },
                is_json,
            ))
        }
        "close" | "open" => {
            let room = asked.checked("room", "ROOM", RoomName::parse);
            let reason = asked
                .optional("reason")
                .map(|reason| ("reason", reason.to_owned()));
            let (api, room) = asked.end(api.zip(room))?;
            let sentence = |answer: &Value| match &answer["closed"] {
                Value::Bool(true) => format!("closed, with {} in it", answer["kicked"]),
                _ => "open".to_owned(),
            };
            let (path, body) = (
                format!("rooms/{room}/{act}"),
                Some(object(reason.into_iter().collect())),
            );
            start(act_on(
                api,
                Call {
                    method: Method::POST,
                    path,
                    query: Vec::new(),
                    body,
                    sentence,
                },
                is_json,
            ))
        }
        _ => {
            let number = asked.checked("number", "NUMBER", str::parse::<u64>);
            let which = asked.which();
            let api = asked.end(api)?;
            let one = |number| format!("connections/{number}/kick");
            let path = number.map_or_else(|| "connections/kick".to_owned(), one);
            let sentence = |answer: &Value| format!("{} closed", answer["kicked"]);
            let body = Some(object(which));
            start(act_on(
                api,
                Call {
                    method: Method::POST,
                    path,
                    query: Vec::new(),
                    body,
                    sentence,
                },
                is_json,
            ))
        }
    }
}

/// The arguments of one act, and what is wrong with them.
struct Asked<'a> {
    matches: &'a ArgMatches,
    mistakes: Mistakes,
}

impl<'a> Asked<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.matches.get_one::<String>(name).map(String::as_str)
    }

    /// The same of an argument that not every subcommand has.
    fn optional(&self, name: &str) -> Option<&'a str> {
        self.matches
            .try_get_one::<String>(name)
            .ok()
            .flatten()
            .map(String::as_str)
    }

    /// The value of the argument `name`, that people know as `shown`, if it is given and is right.
    fn checked<T, E: Display>(
        &mut self,
        name: &str,
        shown: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.mistakes.check(shown, text, parse)
    }

    /// Which connections or people are meant: those of the flags for a room, an id and an address that are given.
    fn which(&mut self) -> Vec<(&'static str, String)> {
        let room = self
            .checked("room", "--room", RoomName::parse)
            .map(|room| ("room", room.to_string()));
        let id = self
            .checked("id", "--id", UserId::parse)
            .map(|id| ("id", id.to_string()));
        let address = self.checked("address", "--address", str::parse::<std::net::IpAddr>);
        room.into_iter()
            .chain(id)
            .chain(address.map(|address| ("address", address.to_string())))
            .collect()
    }

    /// Nothing more is asked for.
    fn end<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => Err(self.mistakes.into()),
        }
    }
}

/// `pairs` as a JSON object of texts.
fn object(pairs: Vec<(&'static str, String)>) -> Value {
    Value::Object(
        pairs
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.into()))
            .collect::<Map<_, _>>(),
    )
}

/// Prints all of the list `what`, read in parts: the name of the list, and the field by which it goes on.
async fn list(
    api: Api,
    what: (&'static str, &'static str),
    query: Vec<(&'static str, String)>,
    columns: &[Column],
    is_json: bool,
) -> anyhow::Result<()> {
    let (name, place) = what;
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let mut pairs: Vec<(&str, &str)> = query
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        pairs.push(("limit", "1000"));
        pairs.extend(after.as_deref().map(|after| ("after", after)));
        let mut answer = api.call(Method::GET, name, &pairs, None).await?;
        let is_more = answer["more"] == true;
        let Value::Array(part) = answer[name].take() else {
            break;
        };
        after = part.last().map(|row| match &row[place] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        rows.extend(part);
        if !is_more || after.is_none() {
            break;
        }
    }
    if is_json {
        print(&rows.iter().map(json_line).collect::<String>())
    } else {
        print(&table(columns, &rows))
    }
}

/// Prints who is kept out, and which rooms are closed.
async fn list_bans(api: Api, is_json: bool) -> anyhow::Result<()> {
    let mut answer = api.call(Method::GET, "bans", &[], None).await?;
    let mut rows = |name: &str| match answer[name].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    };
    let (bans, closed) = (rows("bans"), rows("closed"));
    if is_json {
        return print(
            &bans
                .iter()
                .chain(&closed)
                .map(json_line)
                .collect::<String>(),
        );
    }
    print(&(table(BANS, &bans) + &table(CLOSED, &closed)))
}

/// Prints what passes over the connection `number` until it ends, or nobody reads any more.
async fn watch(api: Api, number: u64, is_json: bool) -> anyhow::Result<()> {
    let show = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(event)) if !is_json => {
            let fields = event
                .iter()
                .map(|(name, value)| format!("{name}={}", table::cell(name, value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        _ => escape_json(line),
    };
    let path = format!("connections/{number}/trace");
    let mut unprinted = None;
    let print = |line: &str| {
        unprinted = output::print(show(line) + "\n").err();
        unprinted.is_none()
    };

    tokio::select! {
        ended = api.follow(&path, print) => ended?,
        stopped = interrupted() => stopped?,
    }
    Ok(unprinted.map_or(Ok(()), Err)?)
}

/// Returns `value` as JSON on a line of its own.
fn json_line(value: &Value) -> String {
    escape_json(&format!("{value}\n"))
}

/// One act.
struct Call<F> {
    method: Method,
    /// Under `/api/v1/admin`.
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    /// What came of it, for people.
    sentence: F,
}

/// Does one thing and prints what came of it.
async fn act_on(
    api: Api,
    call: Call<impl Fn(&Value) -> String>,
    is_json: bool,
) -> anyhow::Result<()> {
    let pairs: Vec<(&str, &str)> = call
        .query
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let answer = api
        .call(call.method, &call.path, &pairs, call.body.as_ref())
        .await?;
    print(&if is_json {
        json_line(&answer)
    } else {
        escape(&(call.sentence)(&answer)) + "\n"
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(output::print(text)?)
}
