//! `fanfare completions`: prints a script that completes the commands and flags of `fanfare` in a shell.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::cli::{Failure, output};

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Print the completion script of a shell",
    after_help = "bash: fanfare completions bash > ~/.local/share/bash-completion/completions/fanfare\n\
             zsh:  fanfare completions zsh > FOLDER/_fanfare, where FOLDER is in $fpath\n\
             fish: fanfare completions fish > ~/.config/fish/completions/fanfare.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::command(), "fanfare", &mut script);

    Ok(output::print(script)?)
}
