//! The settings of hooks.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use super::{SECRET, hook};
use crate::harness::program;

fn check_config(toml: &str) -> Output {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(toml.as_bytes()).expect("written");
    program()
        .args(["check-config", "--config"])
        .arg(file.path())
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn check_config_prints_the_hooks_without_their_secrets() {
    let first = hook(
        "billing",
        "https://app.example/hook",
        &["orders-*", "orders-1", "lobby"],
    );
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "{SECRET}").expect("written");
    let second = format!(
        "[[hook]]\nname = \"search\"\nurl = \"http://[::1]:9/?token=t0k3n\"\nrooms = [\"*\"]\nsecret-file = {:?}\n",
        file.path()
    );

    let output = check_config(&(first + &second));

    let settings = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for line in [
        "[[hook]] # file",
        "name = \"billing\"",
        "url = \"https://app.example/hook\"",
        "rooms = [\"lobby\", \"orders-*\"]",
        "events = [\"message\"]",
        "name = \"search\"",
        "url = \"http://[::1]:9/?…\"",
    ] {
        assert!(
            settings.lines().any(|found| found == line),
            "{line} in\n{settings}"
        );
    }
    assert!(
        !settings.contains("whsec_") && !settings.contains("t0k3n"),
        "{settings}"
    );
}

#[test]
fn every_mistake_in_a_hook_prevents_the_start() {
    let valid = hook("a", "http://127.0.0.1:9/", &["lobby"]);
    let with = |key: &str, value: &str| {
        let lines = valid
            .lines()
            .map(|line| match line.starts_with(&format!("{key} =")) {
                true => format!("{key} = {value}"),
                false => line.to_owned(),
            });
        lines.collect::<Vec<_>>().join("\n")
    };

    for (settings, words) in [
        (
            with("name", "\"a b\""),
            "name is \"a b\"; allowed is 1 to 64",
        ),
        (
            with("url", "\"ftp://a\""),
            "url is \"ftp://a\"; allowed is a URL like https://",
        ),
        (with("url", "\"http://ann:x@a/\""), "without a user"),
        (with("rooms", "[]"), "rooms is []; allowed is a list"),
        (with("rooms", "[\"a*b\"]"), "rooms has \"a*b\""),
        (
            with("secret", "\"whsec_c2hvcnQ=\""),
            "secret is not valid; allowed is whsec_",
        ),
        (
            format!("{valid}secret-file = \"/nowhere\"\n"),
            "either secret or secret-file",
        ),
        (
            format!("{valid}events = [\"message\", \"edit\"]\n"),
            "events is [\"message\", \"edit\"]; allowed is a list of any of \"message\", \"join\"",
        ),
        (
            format!("{valid}retries = 3\n"),
            "there is no key \"retries\"; allowed are name, url",
        ),
        (format!("{valid}{valid}"), "a name that no other hook has"),
        (
            "[hook]\nname = \"a\"\n".to_owned(),
            "must be written as [[hook]]",
        ),
    ] {
        let output = check_config(&settings);

        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{settings}\n{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(words), "{words} in {errors}");
    }
}

#[test]
fn a_secret_that_all_users_of_the_machine_can_read_is_a_warning() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), SECRET).expect("written");
    let settings = format!(
        "[[hook]]\nname = \"a\"\nurl = \"http://127.0.0.1:9/\"\nrooms = [\"*\"]\nsecret-file = {:?}\n",
        secret.path()
    );
    let warnings = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(secret.path(), permissions).expect("permitted");
        let output = check_config(&settings);
        assert_eq!(output.status.code(), Some(0));
        text(&output.stderr).to_owned()
    };

    assert!(warnings(0o644).contains("all users of this machine can read the secret"));
    assert_eq!(warnings(0o640), "");
}

#[test]
fn check_config_prints_the_grants_of_groups_as_valid_settings() {
    let settings = "auth-header = \"remote-user\"\ntrusted-proxy = [\"127.0.0.1\"]\n\
        [[grant]]\nrooms = { lobby = \"r\" }\n\
        [[grant]]\ngroup = \"staff\"\nrooms = { \"orders-*\" = \"rw\", lobby = \"admin\" }\n";

    let output = check_config(settings);

    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (_, grants) = printed.split_once("[[grant]] # file").expect("grants");
    let parsed: toml::Table = format!("[[grant]]{grants}").parse().expect("TOML");
    let given: toml::Table = settings.parse().expect("TOML");
    assert_eq!(parsed["grant"], given["grant"], "{printed}");
}
