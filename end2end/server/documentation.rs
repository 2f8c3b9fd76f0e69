//! The documentation matches the program: settings, pages, links, dependencies. Both READMEs have the same content.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::program;

/// Returns the root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files from which `make docs` makes pages.
fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs/src")).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .collect()
}

/// Returns the targets of the links and pictures of a text in Markdown.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_setting_is_explained() {
    let help = program().arg("--help").output().expect("it runs").stdout;
    let help = String::from_utf8(help).expect("text");
    let settings = read(&root().join("docs/src/settings.md"));

    let flags = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--")?.split(' ').next());
    let flags: BTreeSet<&str> = flags.filter(|flag| *flag != "config").collect();
    assert!(flags.len() > 20, "{help}");

    for flag in flags {
        assert!(
            settings.contains(&format!("`--{flag}`")),
            "docs/src/settings.md has no --{flag}"
        );
    }
}

#[test]
fn every_page_is_in_the_contents_and_every_link_has_a_target() {
    let contents = read(&root().join("docs/src/SUMMARY.md"));
    let readmes = ["README.md", "README.zh-CN.md"].map(|name| root().join(name));

    for page in pages().into_iter().chain(readmes) {
        let name = page
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(
            ["SUMMARY.md", "README.md", "README.zh-CN.md"].contains(&name.as_str())
                || contents.contains(&format!("]({name})")),
            "{name} is not in docs/src/SUMMARY.md"
        );

        let text = read(&page);
        let local = |target: &&str| !target.starts_with("http") && !target.starts_with('#');

        for target in targets(&text).filter(local) {
            let file = target.split('#').next().expect("a part");
            let path = page.parent().expect("a folder").join(file);
            assert!(
                path.exists(),
                "{name} links to {target}, which does not exist"
            );
        }
    }
}

#[test]
fn both_readmes_have_the_same_parts_and_the_same_links() {
    let [english, chinese] = ["README.md", "README.zh-CN.md"].map(|name| read(&root().join(name)));

    let shape = |text: &str| {
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        [count("## "), count("```"), count("- "), count("![")]
    };
    assert_eq!(shape(&english), shape(&chinese));

    let links = |text: &str| -> BTreeSet<String> {
        targets(text)
            .filter(|target| !target.starts_with("README"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(links(&english), links(&chinese));
    assert!(
        english.lines().count() < 90,
        "the README fits on one screen and links to the rest"
    );
}

#[test]
fn every_library_has_its_reason() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().expect("TOML");

    let native = &manifest["target"]["cfg(not(target_arch = \"wasm32\"))"];
    let tables = [
        &manifest["dependencies"],
        &manifest["dev-dependencies"],
        &native["dev-dependencies"],
    ];
    let reasons = read(&root().join("docs/src/dependencies.md"));

    let libraries = || {
        tables
            .iter()
            .flat_map(|table| table.as_table().expect("a table").keys())
    };

    for library in libraries() {
        assert!(
            reasons.contains(&format!("`{library}`")),
            "docs/src/dependencies.md has no {library}"
        );
    }

    let rows = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());

    for named in rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        assert!(
            libraries().any(|library| library == named),
            "{named} is no longer used"
        );
    }
}
