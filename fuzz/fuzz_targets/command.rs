//! Any text: a command or an event that can be decoded is encoded and decoded to the same.
#![no_main]

use floors::protocol::{Command, Push};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Command::decode(text) {
        Ok(command) => assert_eq!(Command::decode(&command.encode()), Ok(command)),
        Err(error) => assert!(!error.message.is_empty()),
    }

    if let Ok(push) = Push::decode(text) {
        assert_eq!(Push::decode(&push.encode()).expect("an encoded event"), push);
    }
});
