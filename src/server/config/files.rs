//! Faults of files and folders that are found without starting the server, for `fanfare check-config`.

use std::error::Error;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::server::config::Config;
use crate::server::config::raw::{ConfigError, RawConfig};
use crate::server::moderation;
use crate::server::store::StoreSettings;

impl Config {
    /// Checks that the server could make or read its files in the data folder, and makes none of them. `raw` is what the
    /// configuration was made of.
    ///
    /// The checks are those that depend on the user who runs the program, and are no part of [`Config::check`]: other
    /// commands read the settings of a server whose files they do not touch.
    ///
    /// # Errors
    /// All mistakes, not only the first.
    pub fn check_files(&self, raw: &RawConfig) -> Result<(), Vec<ConfigError>> {
        let mistakes: Vec<ConfigError> = [
            self.check_data(raw).and_then(|()| self.check_bans(raw)),
            self.check_database(raw),
        ]
        .into_iter()
        .filter_map(Result::err)
        .collect();

        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }

    /// Checks the data folder.
    fn check_data(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        let folder = self.moderation.parent().unwrap_or(Path::new("."));
        let is_written = match &self.store {
            StoreSettings::Sqlite(settings) => settings.path.parent() == Some(folder),
            // The first ban makes it.
            StoreSettings::Memory(_) => false,
            StoreSettings::Nats(_) => return Ok(()),
        };

        check_can_be_made(folder, is_written)
            .map_err(|reason| raw.mistake("data", &format!("a folder that can be made: {reason}")))
    }

    /// Checks the folder of a database that is not in the data folder.
    fn check_database(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        let StoreSettings::Sqlite(settings) = &self.store else {
            return Ok(());
        };
        let folder = settings.path.parent().unwrap_or(Path::new("/"));
        if self.moderation.parent() == Some(folder) {
            return Ok(());
        }

        check_can_be_made(folder, true).map_err(|reason| {
            raw.mistake(
                "store",
                &format!("a file in a folder that can be made: {reason}"),
            )
        })
    }

    fn check_bans(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        // The nodes of a cluster keep them in NATS.
        if matches!(self.store, StoreSettings::Nats(_)) {
            return Ok(());
        }

        moderation::load(&self.moderation)
            .map(|_rules| ())
            .map_err(|error| {
                let cause = error.source().map(|cause| format!(": {cause}"));
                let reason = format!(
                    "a folder with a good file of bans: {error}{}",
                    cause.unwrap_or_default()
                );
                raw.mistake("data", &reason)
            })
    }
}

/// Checks that `folder` is one or can be made, also by this user if it `is_written` at the start.
fn check_can_be_made(folder: &Path, is_written: bool) -> Result<(), String> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existing = absolute
        .ancestors()
        .find(|path| path.symlink_metadata().is_ok())
        .unwrap_or(Path::new("/"));

    if !existing.is_dir() {
        return Err(format!("{} is not a folder", existing.display()));
    }
    if is_written && existing != absolute {
        access(existing, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| format!("{} cannot be written to: {error}", existing.display()))?;
    }
    Ok(())
}
