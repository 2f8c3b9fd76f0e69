//! The files in `deploy/` fit this program: the Containerfile, the unit, the package and its settings.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use reqwest::Method;

use crate::admin::call;
use crate::client::{get, publish};
use crate::harness::{Server, program};

/// Reads a file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there")
}

/// Returns the part of `text` between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: char) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before}"));
    rest.split(after).next().expect("a part")
}

#[test]
fn the_container_has_valid_settings_and_the_right_health_check() {
    let recipe = read("deploy/Containerfile");
    let variables = between(&recipe, "ENV ", '\n').split(' ');
    let variables: Vec<_> = variables
        .map(|variable| variable.split_once('=').expect("a value"))
        .collect();

    let output = program()
        .arg("check-config")
        .envs(variables.clone())
        .output()
        .expect("it runs");
    let output = String::from_utf8(output.stdout).expect("text");

    for (name, value) in variables {
        let setting = name
            .strip_prefix("FANFARE_")
            .expect("one of ours")
            .to_lowercase()
            .replace('_', "-");
        assert!(
            output.contains(&format!("{setting} = {value:?} # environment\n")),
            "{name} in\n{output}"
        );
    }

    let ops = between(&output, "ops-listen = \"", '"');
    assert_eq!(between(&recipe, "http://", '"'), format!("{ops}/readyz"));

    let (_, port) = between(&output, "listen = \"", '"')
        .rsplit_once(':')
        .expect("a port");
    assert_eq!(between(&recipe, "EXPOSE ", '\n'), port);
}

#[tokio::test]
async fn the_folder_of_the_container_is_writable_for_any_user_of_group_0() {
    let recipe = read("deploy/Containerfile");
    assert!(
        recipe.contains("chgrp 0 /data && chmod 2770 /data"),
        "{recipe}"
    );
    assert!(
        recipe.contains("COPY --from=build --chown=nonroot:0 /data /data"),
        "{recipe}"
    );

    if fs::metadata("/proc/self").expect("of ours").uid() != 0 {
        eprintln!("skipped: only root may start the server as another user");
        return;
    }

    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("data");
    fs::create_dir(&folder).expect("made");
    for path in [parent.path(), &folder] {
        chown(path, Some(65532), Some(0)).expect("root may");
        fs::set_permissions(path, fs::Permissions::from_mode(0o2770)).expect("root may");
    }

    for text in ["first", "second"] {
        let mut command = program();
        command.uid(54321).gid(0).arg("--data").arg(&folder);

        let server = Server::start_by(&mut command, &[]);
        publish(&server, "lobby", text).await;

        let ban = serde_json::json!({ "id": text });
        let (status, answer) = call(&server, Method::POST, "bans", ban).await;
        assert_eq!(status, 201, "{answer}");

        let messages = get(&server, "/api/v1/rooms/lobby/messages").await;
        assert_eq!(
            messages["messages"]
                .as_array()
                .expect("a list")
                .last()
                .expect("one")["text"],
            text
        );

        server.signal("TERM");
        assert_eq!(server.end().await.0.code(), Some(0));
    }
}

#[test]
fn the_container_is_built_with_the_required_rust_and_without_local_builds() {
    let wanted = read("scripts/env.sh");
    let image = read("deploy/Containerfile");
    assert_eq!(
        between(&image, "library/rust:1.", '-'),
        between(&wanted, "MIN_RUST_MINOR=", ' ')
    );

    let kept_out = read(".dockerignore");

    for line in read(".gitignore")
        .lines()
        .filter(|line| line.starts_with('/'))
    {
        let folder = line.trim_matches('/');
        assert!(
            kept_out.lines().any(|line| line == folder),
            "{folder} would be copied into the image"
        );
    }
}

#[test]
fn the_settings_of_the_package_are_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fanfare.toml");

    // The folder of the site exists only where the package is installed.
    let mut check = program();
    let output = check
        .arg("check-config")
        .arg("--config")
        .arg(file)
        .arg("--site")
        .arg(folder.path())
        .output();

    let output = output.expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("data = \"/var/lib/fanfare\" # file\n")
    );
}

#[test]
fn the_completions_and_man_pages_of_the_package_are_those_that_the_program_prints() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/share.sh");
    let status = Command::new(script)
        .arg(env!("CARGO_BIN_EXE_fanfare"))
        .arg(folder.path())
        .status();
    assert!(status.expect("bash runs").success());

    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let sources = assets.as_array().expect("a list").iter();
    let sources = sources.map(|asset| asset[0].as_str().expect("a path"));
    let shared: Vec<&str> = sources
        .filter_map(|source| source.strip_prefix("dist/share/"))
        .collect();

    assert_eq!(shared.len(), 4, "{shared:?}");
    for path in shared {
        // Stands for the pattern of the man pages.
        let path = folder
            .path()
            .join("share")
            .join(path.replace('*', "fanfare"));
        let text = fs::read_to_string(&path).expect("it is there");
        assert!(text.contains("fanfare"), "{}", path.display());
    }
}

#[test]
fn the_package_creates_the_user_of_its_unit() {
    let unit = read("deploy/systemd/fanfare.service");
    let script = read("deploy/debian/postinst");

    let made = script
        .lines()
        .find(|line| line.trim().starts_with("adduser "))
        .expect("a line");
    assert_eq!(
        made.split(' ').next_back(),
        Some(between(&unit, "User=", '\n'))
    );
    assert!(read("Cargo.toml").contains("depends = \"$auto, adduser\""));
}

#[test]
fn systemd_accepts_the_unit_and_the_socket() {
    let folder = tempfile::tempdir().expect("a folder");

    let unit = read("deploy/systemd/fanfare.service")
        .replace("/usr/bin/fanfare", env!("CARGO_BIN_EXE_fanfare"));
    let files = [
        ("fanfare.service", unit),
        ("fanfare.socket", read("deploy/fanfare.socket")),
    ]
    .map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path
    });

    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(files)
        .output();
    let output = output.expect("systemd is installed");
    let output = String::from_utf8_lossy(&output.stderr).into_owned();

    // The output may also be about other units of this machine.
    let of_ours: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("fanfare"))
        .collect();
    assert_eq!(of_ours, [""; 0], "{output}");
}

/// Returns the version in `Cargo.toml`.
fn version() -> String {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    manifest["package"]["version"]
        .as_str()
        .expect("text")
        .to_owned()
}

#[test]
fn the_version_is_in_one_place() {
    for manifest in ["npm/package.json", "npm-client/package.json"] {
        let manifest = read(&format!("packages/{manifest}"));
        assert!(manifest.contains("\"version\": \"0.0.0\""), "{manifest}");
    }
    let manifest = read("packages/python-client/pyproject.toml");
    assert!(manifest.contains("version = \"0.0.0\""), "{manifest}");

    let output = program().arg("--version").output().expect("it runs");
    let output = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.starts_with(&format!("fanfare {}", version())),
        "{output}"
    );
}

#[test]
fn pip_installs_the_wheel_of_a_program_as_the_command_fanfare() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |command: &mut Command| {
        let output = command
            .output()
            .expect("python3 and binutils are installed");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).expect("text")
    };

    // A small program stands for ours, which takes minutes to compress in a development build.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/wheel.py");
    let wheel = run(Command::new(script)
        .args(["/bin/echo", &version()])
        .arg(folder.path()));
    assert!(wheel.contains("-py3-none-manylinux_2_"), "{wheel}");

    let installed = folder.path().join("installed");
    run(Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-index", "--target"])
        .arg(&installed)
        .arg(wheel.trim()));
    let printed = run(Command::new(installed.join("bin/fanfare")).arg("it runs"));

    assert_eq!(printed, "it runs\n");
}
