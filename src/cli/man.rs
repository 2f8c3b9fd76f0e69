//! `fanfare man`: writes the man pages of `fanfare` and of each of its commands.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::builder::TypedValueParser;

use crate::cli::Failure;
use crate::cli::args::not_empty;

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Write the man pages to a folder",
    after_help = "To read one: fanfare man pages && man pages/fanfare-send.1"
)]
pub(super) struct ManArgs {
    /// The folder (created if missing); it gets fanfare.1, fanfare-send.1, and so on
    #[arg(value_parser = not_empty().map(PathBuf::from))]
    folder: PathBuf,
}

pub(super) fn run(args: ManArgs) -> Result<(), Failure> {
    let folder = args.folder;
    let written = fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(super::command(), &folder))
        .with_context(|| format!("cannot write the man pages to {}", folder.display()));

    Ok(written?)
}
