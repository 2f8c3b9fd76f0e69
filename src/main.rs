//! Runs [`fanfare::cli`] and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanfare::cli::run()
}
