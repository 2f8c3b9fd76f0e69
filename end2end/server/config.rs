//! Settings: flags override the environment, the environment the file, and the file the defaults. All mistakes are
//! reported at once.

use std::io::Write;
use std::process::Output;

use crate::harness::program;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    program()
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn file(toml: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(toml.as_bytes()).expect("written");
    file
}

#[test]
fn flags_override_the_environment_the_file_and_the_defaults() {
    let file = file(
        "heartbeat = \"1s\"\nexpire = \"2s\"\nmax-rooms = 3\nallow-origin = [\"any\", \"null\"]\n",
    );
    let path = file.path().to_str().expect("text");

    let output = run(
        &["check-config", "--config", path, "--heartbeat", "100ms"],
        &[("FANFARE_HEARTBEAT", "200ms"), ("FANFARE_EXPIRE", "300ms")],
    );

    let settings = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    for line in [
        "heartbeat = \"100ms\" # flag",
        "expire = \"300ms\" # environment",
        "max-rooms = \"3\" # file",
        "allow-origin = [\"any\", \"null\"] # file",
        "max-message = \"64KiB\" # default",
    ] {
        assert!(
            settings.lines().any(|found| found == line),
            "{line} in\n{settings}"
        );
    }
}

#[test]
fn the_output_of_check_config_is_a_valid_settings_file() {
    let first = run(
        &[
            "check-config",
            "--max-rooms",
            "7",
            "--allow-origin",
            "https://a.example",
        ],
        &[],
    );

    let file = file(&text(&first.stdout).replace("site = ", "# site = "));

    let second = run(
        &[
            "check-config",
            "--config",
            file.path().to_str().expect("text"),
        ],
        &[],
    );
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    assert!(text(&second.stdout).contains("max-rooms = \"7\" # file"));
}

#[test]
fn all_mistakes_are_reported_at_once_with_exit_code_2() {
    for subcommand in ["serve", "check-config"] {
        let output = run(
            &[subcommand, "--listen", "here", "--max-message", "0"],
            &[("FANFARE_EXPIRE", "never")],
        );
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().count(), 3, "{errors}");

        for flag in ["--listen", "--max-message", "--expire"] {
            assert!(errors.contains(flag), "{errors}");
        }

        assert!(output.stdout.is_empty());
    }
}

#[test]
fn unknown_keys_unknown_flags_and_missing_files_are_errors() {
    let file = file("hartbeat = \"1s\"\nmax-rooms = [1, 2]\nlisten = true\n");
    let output = run(
        &[
            "check-config",
            "--config",
            file.path().to_str().expect("text"),
        ],
        &[],
    );

    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(errors.contains("hartbeat"), "{errors}");
    assert!(errors.contains("heartbeat"), "{errors}");

    assert_eq!(
        run(&["serve", "--hartbeat", "1s"], &[]).status.code(),
        Some(2)
    );
    assert_eq!(
        run(&["serve", "--config", "/nowhere.toml"], &[])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn an_address_in_use_is_an_error_with_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = run(&["serve", "--listen", &address, "--ops-listen", "off"], &[]);

    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&address), "{errors}");
    assert!(errors.contains("--listen"), "{errors}");
}

#[test]
fn help_and_version_exit_with_0() {
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("--heartbeat"));
    assert!(text(&help.stdout).contains("25s"));

    let version = run(&["--version"], &[]);
    assert_eq!(
        text(&version.stdout).trim(),
        format!("fanfare {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn an_empty_flag_variable_or_file_entry_prevents_the_start() {
    for name in [
        "listen",
        "ops-listen",
        "site",
        "store",
        "data",
        "tls-cert",
        "tls-key",
        "auth-key-file",
        "nats-creds",
        "nats-nkey",
        "nats-ca",
        "otlp-endpoint",
        "public-host",
        "allow-origin",
        "allow-embed",
        "trusted-proxy",
    ] {
        for empty in ["", " ", "\t"] {
            let flag = format!("--{name}={empty}");
            let variable = format!("FANFARE_{}", name.to_uppercase().replace('-', "_"));
            let file = file(&format!("{name} = {empty:?}\n"));
            let path = file.path().to_str().expect("text");

            for (arguments, environment) in [
                (vec!["check-config", &flag], vec![]),
                (vec!["check-config"], vec![(&*variable, empty)]),
                (vec!["check-config", "--config", path], vec![]),
                (vec!["serve", &flag], vec![]),
                (vec!["serve"], vec![(&*variable, empty)]),
                (vec!["serve", "--config", path], vec![]),
            ] {
                let output = run(&arguments, &environment);
                let errors = text(&output.stderr);
                assert_eq!(
                    output.status.code(),
                    Some(2),
                    "{arguments:?} {environment:?}: {errors}"
                );
                assert_eq!(
                    errors.lines().count(),
                    1,
                    "{arguments:?} {environment:?}: {errors}"
                );
                assert!(errors.contains(&format!("--{name} (")), "{errors}");
                assert!(errors.contains("is empty"), "{errors}");
            }
        }
    }
}

#[test]
fn an_empty_list_or_list_item_is_an_empty_setting() {
    for toml in [
        "trusted-proxy = []",
        "trusted-proxy = [\"10.0.0.0/8\", \"\"]",
        "public-host = [\" \"]",
    ] {
        let file = file(toml);
        let path = file.path().to_str().expect("text");
        let output = run(&["check-config", "--config", path], &[]);
        assert_eq!(output.status.code(), Some(2), "{toml}");
        assert!(text(&output.stderr).contains("is empty"), "{toml}");
    }

    for list in ["10.0.0.0/8,", ",", "10.0.0.0/8,,10.1.0.0/16"] {
        let by_flag = run(&["check-config", "--trusted-proxy", list], &[]);
        let by_variable = run(&["check-config"], &[("FANFARE_TRUSTED_PROXY", list)]);
        assert_eq!(by_flag.status.code(), Some(2), "{list}");
        assert_eq!(by_variable.status.code(), Some(2), "{list}");
    }
}

#[test]
fn an_empty_file_address_or_token_of_a_command_is_an_error() {
    let grant = ["token", "--sub", "ann", "--room", "lobby:r"];
    let with = |more: &[&'static str]| [&grant[..], more].concat();

    for (arguments, variable) in [
        (vec!["check-config"], "FANFARE_CONFIG"),
        (vec!["serve", "--config", " "], ""),
        (with(&[]), "FANFARE_AUTH_KEY_FILE"),
        (with(&["--auth-key-file", ""]), ""),
        (vec!["listen", "lobby"], "FANFARE_URL"),
        (vec!["listen", "lobby"], "FANFARE_TOKEN"),
        (vec!["send", "lobby", "hi"], "FANFARE_CA"),
        (vec!["send", "lobby", "hi", "--token", " "], ""),
        (vec!["admin", "rooms"], "FANFARE_ADMIN_URL"),
        (vec!["admin", "rooms"], "FANFARE_TOKEN"),
        (vec!["bench", "--node", ""], ""),
        (vec!["doctor", "--ops", ""], ""),
        (vec!["verify", ""], ""),
    ] {
        let environment = if variable.is_empty() {
            vec![]
        } else {
            vec![(variable, "")]
        };
        let output = run(&arguments, &environment);

        let errors = text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?} {variable}: {errors}"
        );
        assert!(
            errors.contains("empty"),
            "{arguments:?} {variable}: {errors}"
        );
    }
}

#[test]
fn a_settings_file_is_utf_8_and_may_begin_with_a_byte_order_mark() {
    let marked = file("\u{feff}max-rooms = 7\n");
    let path = marked.path().to_str().expect("text");

    let output = run(&["check-config", "--config", path], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("max-rooms = \"7\" # file"));

    let mut utf_16 = tempfile::NamedTempFile::new().expect("a file");
    utf_16.write_all(b"\xff\xfem\0").expect("written");

    let path = utf_16.path().to_str().expect("text");
    let output = run(&["check-config", "--config", path], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("UTF-8"));
}

#[test]
fn an_operating_system_error_is_named_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("moderation.json");
    std::fs::create_dir(&rules).expect("made");
    let data = folder.path().to_str().expect("text");

    let quiet = ["--listen", "127.0.0.1:0", "--ops-listen", "off"];
    let serve = |more: &[&'static str]| [&["serve"][..], &quiet, more].concat();

    for (arguments, cause) in [
        (serve(&["--data", "/dev/null/x"]), "os error 20"),
        (
            [&serve(&["--store", "memory", "--data"])[..], &[data]].concat(),
            "os error 21",
        ),
        (
            vec!["import", "lobby", "--data", "/dev/null/x"],
            "os error 20",
        ),
        (
            vec!["serve", "--ops-listen", "off", "--listen", "192.0.2.1:1"],
            "os error 99",
        ),
        (vec!["serve", "--config", "/no/such/file"], "os error 2)"),
        (
            vec![
                "token",
                "--sub",
                "a",
                "--room",
                "b:r",
                "--auth-key-file",
                "/no/such/file",
            ],
            "os error 2)",
        ),
        (
            vec!["admin", "rooms", "--url", "http://127.0.0.1:1"],
            "os error 111",
        ),
        (
            vec!["bench", "--seconds", "1", "--url", "http://127.0.0.1:1"],
            "os error 111",
        ),
    ] {
        let output = run(&arguments, &[]);
        let errors = text(&output.stderr);

        let reason = errors
            .lines()
            .find(|line| line.starts_with("error: "))
            .unwrap_or_else(|| panic!("{arguments:?}: {errors}"));
        assert_eq!(
            reason.matches("os error").count(),
            1,
            "{arguments:?}: {reason}"
        );
        assert!(reason.contains(cause), "{arguments:?}: {reason}");
    }
}

#[test]
fn a_secret_file_with_a_byte_order_mark_or_white_space_prevents_the_start() {
    const SECRET: &str = "a secret of at least 32 bytes, yes";

    let marked = file(&format!("\u{feff}{SECRET}\n"));
    let spaced = file(&format!("{SECRET} \n"));
    let marked = marked.path().to_str().expect("text");
    let spaced = spaced.path().to_str().expect("text");

    let grant = ["token", "--sub", "ann", "--room", "lobby:r"];

    for (arguments, expected) in [
        (
            vec!["check-config", "--auth-key-file", marked],
            "byte order mark",
        ),
        (
            vec!["check-config", "--auth-key-file", spaced],
            "white space",
        ),
        (
            [&grant[..], &["--auth-key-file", marked]].concat(),
            "byte order mark",
        ),
        (
            [&grant[..], &["--auth-key-file", spaced]].concat(),
            "white space",
        ),
        (
            vec!["check-config", "--tls-key", marked, "--tls-cert", marked],
            "byte order mark",
        ),
        (
            vec!["check-config", "--nats-creds", marked],
            "byte order mark",
        ),
        (
            vec!["check-config", "--nats-nkey", marked],
            "byte order mark",
        ),
        (vec!["check-config", "--nats-ca", marked], "byte order mark"),
        (vec!["listen", "lobby", "--ca", marked], "byte order mark"),
    ] {
        let output = run(&arguments, &[]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
        assert!(!errors.contains(SECRET), "{errors}");
    }
}

#[test]
fn a_misspelt_variable_is_named_with_the_nearest_one_and_starts_no_server() {
    for subcommand in ["serve", "check-config"] {
        let output = run(
            &[subcommand, "--max-rooms", "0"],
            &[("FANFARE_LISTN", "127.0.0.1:0")],
        );

        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().count(), 2, "{errors}");
        assert!(errors.contains("FANFARE_LISTN "), "{errors}");
        assert!(errors.contains("FANFARE_LISTEN"), "{errors}");
    }
}

#[test]
fn a_variable_that_only_begins_like_fanfares_is_named_and_changes_nothing() {
    let output = run(&["check-config"], &[("FANFARE_BIN", "target/fanfare")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("FANFARE_BIN"));
}

#[test]
fn check_config_finds_paths_of_the_wrong_kind_and_those_that_cannot_be_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let bans = |name: &str| path(&format!("{name}/moderation.json"));

    for name in ["damaged", "endless", "blocked"] {
        std::fs::create_dir(path(name)).expect("made");
    }

    std::fs::write(bans("damaged"), "{").expect("written");
    std::os::unix::fs::symlink("/dev/zero", bans("endless")).expect("linked");
    std::fs::create_dir(bans("blocked")).expect("made");
    std::os::unix::fs::symlink(path("nowhere"), path("dangling")).expect("linked");

    for arguments in [
        vec!["--store".to_owned(), format!("sqlite:{}", path("damaged"))],
        vec!["--store".to_owned(), "sqlite:/dev/null".to_owned()],
        vec!["--store".to_owned(), "sqlite:/dev/null/a.db".to_owned()],
        vec!["--data".to_owned(), "/dev/null".to_owned()],
        vec!["--data".to_owned(), "/dev/null/a".to_owned()],
        vec!["--data".to_owned(), path("dangling")],
        vec!["--data".to_owned(), path("damaged")],
        vec!["--data".to_owned(), path("endless")],
        vec!["--data".to_owned(), path("blocked")],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(&[&["check-config"][..], &arguments[..]].concat(), &[]);

        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(arguments[0]), "{arguments:?}: {errors}");
        assert!(errors.contains("allowed is"), "{arguments:?}: {errors}");
    }
}

#[test]
fn check_config_makes_nothing_of_what_the_server_would_make() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("a/b");

    let output = run(
        &["check-config", "--data", data.to_str().expect("text")],
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!folder.path().join("a").exists());
}

#[test]
fn a_file_without_an_end_is_refused_wherever_a_small_one_is_expected() {
    const ZERO: &str = "/dev/zero";

    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");

    std::os::unix::fs::symlink(ZERO, folder.path().join("moderation.json")).expect("linked");
    let token = ["token", "--sub", "ann", "--room", "lobby:r"];

    for (arguments, code) in [
        (vec!["check-config", "--config", ZERO], 2),
        (vec!["serve", "--config", ZERO], 2),
        (vec!["serve", "--auth-key-file", ZERO], 2),
        (
            vec!["check-config", "--tls-cert", ZERO, "--tls-key", ZERO],
            2,
        ),
        (vec!["check-config", "--nats-creds", ZERO], 2),
        (vec!["check-config", "--nats-nkey", ZERO], 2),
        (vec!["check-config", "--nats-ca", ZERO], 2),
        ([&token[..], &["--auth-key-file", ZERO]].concat(), 2),
        (vec!["listen", "lobby", "--ca", ZERO], 2),
        (vec!["serve", "--store", "memory", "--data", data], 1),
    ] {
        let output = run(&arguments, &[]);

        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");

        let is_named = errors.contains(ZERO) || errors.contains("moderation.json");
        let has_limit = ["1 MiB", "1048576", "67108864"]
            .iter()
            .any(|limit| errors.contains(limit));
        assert!(is_named, "{arguments:?}: {errors}");
        assert!(has_limit, "{arguments:?}: {errors}");
    }
}

#[test]
fn a_key_file_of_zero_bytes_is_refused() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&[0; 64]).expect("written");
    let path = file.path().to_str().expect("text");

    for arguments in [
        vec!["check-config", "--auth-key-file", path],
        vec![
            "token",
            "--sub",
            "ann",
            "--room",
            "lobby:r",
            "--auth-key-file",
            path,
        ],
    ] {
        let output = run(&arguments, &[]);

        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains("random"), "{arguments:?}: {errors}");
    }
}
