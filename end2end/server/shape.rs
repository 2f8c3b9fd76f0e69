//! The shape of the source tree: floors, gates and styles, as `src/lib.rs` and `src/server/mod.rs` describe them.

use std::fs;
use std::path::{Path, PathBuf};

/// Each floor and the floors that it may name, lowest first.
const FLOORS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("client", &["protocol"]),
    ("browser", &["protocol", "client"]),
    ("app", &["protocol", "client", "browser"]),
    ("server::memory", &[]),
    ("server::small_file", &[]),
    ("server::room_rules", &["protocol"]),
    ("server::wire", &["protocol"]),
    (
        "server::room",
        &["protocol", "server::memory", "server::wire"],
    ),
    (
        "server::session",
        &[
            "protocol",
            "server::memory",
            "server::room_rules",
            "server::wire",
            "server::room",
        ],
    ),
    ("server::auth", &["protocol", "server::room_rules"]),
    ("server::http_client", &[]),
    (
        "server::jwks",
        &[
            "protocol",
            "server::room_rules",
            "server::auth",
            "server::http_client",
        ],
    ),
    (
        "server::moderation",
        &[
            "protocol",
            "server::small_file",
            "server::session",
            "server::auth",
        ],
    ),
    ("server::run_clock", &["server::room"]),
    ("server::metrics", &["protocol"]),
    ("server::log_writer", &[]),
    ("server::version", &[]),
    ("server::files", &[]),
    ("server::spans", &["protocol", "server::metrics"]),
    (
        "server::store",
        &[
            "protocol",
            "server::room_rules",
            "server::small_file",
            "server::memory",
            "server::metrics",
            "server::room",
            "server::spans",
        ],
    ),
    (
        "server::hub",
        &[
            "protocol",
            "server::room_rules",
            "server::memory",
            "server::metrics",
            "server::room",
            "server::run_clock",
            "server::session",
            "server::moderation",
            "server::spans",
            "server::store",
        ],
    ),
    (
        "server::transport",
        &[
            "protocol",
            "server::room_rules",
            "server::small_file",
            "server::memory",
            "server::wire",
            "server::room",
            "server::run_clock",
            "server::session",
            "server::jwks",
            "server::auth",
            "server::metrics",
            "server::spans",
            "server::store",
            "server::hub",
        ],
    ),
    (
        "server::hooks",
        &[
            "protocol",
            "server::http_client",
            "server::metrics",
            "server::version",
            "server::store",
            "server::hub",
        ],
    ),
    (
        "server::http",
        &[
            "protocol",
            "server::room_rules",
            "server::memory",
            "app",
            "server::metrics",
            "server::log_writer",
            "server::version",
            "server::files",
            "server::spans",
            "server::room",
            "server::run_clock",
            "server::session",
            "server::moderation",
            "server::jwks",
            "server::auth",
            "server::store",
            "server::hub",
            "server::transport",
            "server::hooks",
        ],
    ),
    (
        "server::config",
        &[
            "protocol",
            "server::room_rules",
            "server::small_file",
            "server::moderation",
            "server::room",
            "server::session",
            "server::http_client",
            "server::jwks",
            "server::auth",
            "server::files",
            "server::spans",
            "server::store",
            "server::hub",
            "server::transport",
            "server::hooks",
        ],
    ),
    (
        "server",
        &[
            "server::small_file",
            "server::jwks",
            "server::auth",
            "server::config",
            "server::hooks",
            "server::http",
            "server::hub",
            "server::metrics",
            "server::moderation",
            "server::run_clock",
            "server::session",
            "server::store",
            "server::transport",
        ],
    ),
    (
        "cli",
        &[
            "protocol",
            "client",
            "server::small_file",
            "server",
            "server::log_writer",
            "server::version",
            "server::files",
            "server::spans",
            "server::auth",
            "server::store",
            "server::hooks",
            "server::config",
        ],
    ),
];

/// Floors that neither wait nor read a clock.
const PURE: &[&str] = &[
    "protocol",
    "client",
    "server::room_rules",
    "server::wire",
    "server::room",
    "server::session",
    "server::auth",
];
/// Words that a pure floor must not contain.
const IMPURE: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "rusqlite",
    "async fn",
    "Instant::now",
    "SystemTime",
    "std::net::Tcp",
];

/// The only files that depend on the features with which they are compiled.
const GATES: &[&str] = &[
    "src/lib.rs",
    "src/protocol/mod.rs",
    "src/app/mod.rs",
    "src/app/i18n/mod.rs",
    "src/server/files/packaged.rs",
];

/// A source file.
struct SourceFile {
    /// The path from the root of the repository, with `/`.
    path: String,
    text: String,
}

impl SourceFile {
    /// Returns the lines without comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
    }

    /// Returns the floor of the file, if it is on one.
    fn floor(&self) -> Option<&'static str> {
        let module = self
            .path
            .strip_prefix("src/")?
            .trim_end_matches(".rs")
            .replace('/', "::");
        let is_on = |floor: &str| {
            module
                .strip_prefix(floor)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };

        FLOORS
            .iter()
            .map(|(floor, _)| *floor)
            .filter(|floor| is_on(floor))
            .max_by_key(|floor| floor.len())
    }
}

/// Returns the root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all files with this extension below `folder`.
fn files(folder: &str, extension: &str) -> Vec<SourceFile> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];

    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();

            if path.is_dir() {
                if !path.ends_with("node_modules") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("text");
                found.push(SourceFile {
                    path: relative(&path),
                    text,
                });
            }
        }
    }

    assert!(!found.is_empty(), "{folder} has files");

    found
}

/// Returns the path from the root of the repository.
fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .expect("inside")
        .to_string_lossy()
        .replace('\\', "/")
}

/// Returns all source files of the program and of these tests.
fn sources() -> Vec<SourceFile> {
    let mut all = files("src", "rs");
    all.extend(files("end2end/server", "rs"));
    all
}

#[test]
fn every_file_has_a_doc_comment_and_a_specific_name() {
    for source in sources() {
        assert!(
            source.text.starts_with("//! "),
            "{} must open with //!",
            source.path
        );

        let stem = Path::new(&source.path)
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(
            !["util", "utils", "helper", "helpers", "common", "misc"].contains(&stem.as_str()),
            "{}",
            source.path
        );
    }
}

#[test]
fn only_the_gates_depend_on_features() {
    for source in files("src", "rs")
        .iter()
        .filter(|source| !GATES.contains(&source.path.as_str()))
    {
        for line in source.code() {
            assert!(
                !line.contains("feature = "),
                "{} is no gate: {line}",
                source.path
            );
        }
    }
}

#[test]
fn nothing_is_printed_by_a_macro_that_panics_on_a_closed_pipe() {
    for source in files("src", "rs") {
        for line in source.code() {
            let is_macro = ["print!(", "println!(", "eprint!(", "eprintln!("]
                .iter()
                .any(|name| line.contains(name));
            assert!(!is_macro, "{}: {line}", source.path);
        }
    }
}

#[test]
fn no_error_message_repeats_its_source() {
    for source in files("src", "rs") {
        for text in source.text.split("#[error(").skip(1) {
            let (shown, rest) = text.split_once(")]").expect("an attribute ends");
            let variant = rest.split("#[error(").next().expect("a part");
            let variant = variant.split(['}', ';']).next().expect("a part");
            let first_field = variant.split(')').next().expect("a part");
            let has_source = ["#[from]", "#[source]"]
                .iter()
                .any(|mark| first_field.contains(mark));

            assert!(
                !shown.contains("{source"),
                "{}: #[error({shown})]",
                source.path
            );
            assert!(
                !(shown.contains("{0") && has_source),
                "{}: #[error({shown})]",
                source.path
            );
        }
    }
}

#[test]
fn a_floor_names_only_floors_below_it() {
    for source in files("src", "rs") {
        let Some(floor) = source.floor() else {
            continue;
        };
        let (_, allowed) = FLOORS
            .iter()
            .find(|(name, _)| *name == floor)
            .expect("the floor is in the table");

        for line in source.code() {
            // A visibility is not a use.
            let is_use = |(at, _): &(usize, &str)| !line[..*at].ends_with("pub(in ");

            for (at, _) in line.match_indices("crate::").filter(is_use) {
                let named = &line[at + "crate::".len()..];
                let is_named = |name: &str| {
                    named.strip_prefix(name).is_some_and(|rest| {
                        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                    })
                };
                let target = FLOORS
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| is_named(name))
                    .max_by_key(|name| name.len());

                let target = target
                    .unwrap_or_else(|| panic!("{}: name one floor a line: {line}", source.path));
                assert!(
                    target == floor || allowed.contains(&target),
                    "{}: {floor} may not name {target}: {line}",
                    source.path
                );
            }
        }
    }
}

#[test]
fn the_pure_floors_neither_wait_nor_read_a_clock() {
    for source in files("src", "rs")
        .iter()
        .filter(|source| source.floor().is_some_and(|floor| PURE.contains(&floor)))
    {
        for line in source.code() {
            let found = IMPURE.iter().find(|word| line.contains(*word));
            assert_eq!(found, None, "{}: {line}", source.path);
        }
    }
}

#[test]
fn every_file_is_declared_as_a_module() {
    let sources = sources();
    let roots = ["src/lib.rs", "src/main.rs", "end2end/server/main.rs"];

    for source in sources
        .iter()
        .filter(|source| !roots.contains(&source.path.as_str()))
    {
        let path = Path::new(&source.path);
        let folder = path.parent().expect("a folder");
        let stem = path.file_stem().expect("a name");
        let (module, folder) = match stem.to_str() {
            Some("mod") => (
                folder.file_name().expect("a name"),
                folder.parent().expect("a folder"),
            ),
            _ => (stem, folder),
        };

        let declared = [
            format!("mod {};", module.to_string_lossy()),
            format!("#[path = \"{}.rs\"]", module.to_string_lossy()),
            format!("#[path = \"{}/mod.rs\"]", module.to_string_lossy()),
        ];
        let parents = ["mod.rs", "lib.rs", "main.rs"]
            .map(|name| folder.join(name))
            .into_iter()
            .chain([folder.with_extension("rs")]);

        let parents: Vec<String> = parents
            .map(|parent| parent.to_string_lossy().into_owned())
            .collect();
        let is_declared = sources
            .iter()
            .filter(|other| parents.contains(&other.path))
            .any(|parent| {
                parent.code().any(|line| {
                    declared
                        .iter()
                        .any(|declared| line.contains(declared.as_str()))
                })
            });
        assert!(is_declared, "{} is declared by no mod line", source.path);
    }
}

#[test]
fn every_style_belongs_to_a_panel_and_is_imported() {
    let main = fs::read_to_string(root().join("style/main.css")).expect("text");

    // Styles that belong to no panel: colours and the background.
    let shared = ["tokens", "base"];

    for style in files("style", "css") {
        let Some(stem) = style
            .path
            .strip_prefix("style/_")
            .and_then(|path| path.strip_suffix(".css"))
        else {
            continue;
        };
        assert!(
            main.contains(&format!("_{stem}.css")),
            "{} is not imported by style/main.css",
            style.path
        );

        let panel = root().join(format!("src/app/{stem}.rs"));
        assert!(
            shared.contains(&stem) || panel.is_file(),
            "{} has no panel src/app/{stem}.rs",
            style.path
        );
    }
}
