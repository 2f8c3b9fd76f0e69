//! `fanfare completions` and `fanfare man`: shells and `man` accept what they print.

use std::fs;
use std::process::Command;

use super::Client;

#[tokio::test]
async fn bash_completes_commands_and_flags() {
    let script = Client::run(&["completions", "bash"]).await.stdout;

    // The function of the script fills COMPREPLY from COMP_WORDS.
    let complete = |words: &str| {
        let cword = words.split(' ').count() - 1;
        let test = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={cword}\n\
             _fanfare fanfare \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$COMP_CWORD-1]}}\"\n\
             echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash").args(["-c", &test]).output();
        String::from_utf8(output.expect("bash runs").stdout).expect("text")
    };

    assert_eq!(complete("fanfare lis").trim(), "listen");
    assert_eq!(complete("fanfare listen --aft").trim(), "--after");
}

#[tokio::test]
async fn each_shell_has_a_completion_script_and_another_word_is_a_usage_error() {
    for (shell, start) in [("zsh", "#compdef fanfare"), ("fish", "# Print an optspec")] {
        let ended = Client::run(&["completions", shell]).await;
        assert!(ended.stdout.starts_with(start), "{ended:?}");
        assert_eq!(ended.code, Some(0));
    }

    let ended = Client::run(&["completions", "csh"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[tokio::test]
async fn there_is_a_man_page_of_the_program_and_of_each_command() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("man");
    let help = Client::run(&["--help"]).await.stdout;

    let ended = Client::run(&["man", folder.to_str().expect("text")]).await;

    assert_eq!(ended.code, Some(0), "{ended:?}");
    let page = |name: &str| fs::read_to_string(folder.join(name)).expect("a page");
    assert!(page("fanfare.1").contains("FANFARE_LISTEN"));

    let commands = help.split("Commands:").nth(1).expect("a list");
    let commands = commands.lines().skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !["", "help"].contains(command))
        .collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands {
        assert!(page(&format!("fanfare-{command}.1")).contains(".SH SYNOPSIS"));
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_ends_man_with_1_and_the_reason() {
    let ended = Client::run(&["man", "/dev/null/pages"]).await;

    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/dev/null/pages"), "{ended:?}");
}
