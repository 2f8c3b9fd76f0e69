//! Tests of the stored states of hooks.

use super::*;
use crate::protocol::Position;

fn state(offset: u64, status: HookStatus) -> HookState {
    HookState {
        position: Position {
            epoch: Epoch::new(7),
            offset: Offset(offset),
        },
        status,
    }
}

#[test]
fn the_newest_state_of_each_hook_is_kept() {
    for subject in [
        Subject::memory(Subject::retention(100)),
        Subject::sqlite(Subject::retention(100)),
    ] {
        let save = |name: &str, state| subject.run(subject.store.save_hook(name, state));
        let load = |name: &str| subject.run(subject.store.load_hook(name));

        assert_eq!(load("a"), None);
        save("a", state(1, HookStatus::Active));
        save("b", state(2, HookStatus::Active));
        save("a", state(3, HookStatus::Gone));

        assert_eq!(load("a"), Some(state(3, HookStatus::Gone)));
        assert_eq!(load("b"), Some(state(2, HookStatus::Active)));
    }
}

#[test]
fn the_state_of_a_hook_outlasts_the_process() {
    let mut subject = Subject::sqlite(Subject::retention(100));
    subject.run(subject.store.save_hook("a", state(5, HookStatus::Gone)));

    subject.restart();

    let loaded = subject.run(subject.store.load_hook("a"));
    assert_eq!(loaded, Some(state(5, HookStatus::Gone)));
}
