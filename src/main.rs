//! Hands the arguments to [`fanfare::cli`] and its verdict to the operating system.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanfare::cli::run()
}
