//! Checks of files and folders without starting the server, for `fanfare check-config`.

use std::error::Error;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::server::config::Config;
use crate::server::config::raw::{ConfigError, RawConfig};
use crate::server::moderation;
use crate::server::store::StoreSettings;

impl Config {
    /// Checks that the server can create or read its files in the data folder, without creating any. `raw` are the
    /// values from which this configuration was made.
    ///
    /// The result depends on the user who runs the program. The checks are not part of [`Config::check`], because
    /// other commands read the settings of a server without using its files.
    ///
    /// # Errors
    /// All errors, not only the first.
    pub fn check_files(&self, raw: &RawConfig) -> Result<(), Vec<ConfigError>> {
        let errors: Vec<ConfigError> = [
            self.check_data(raw).and_then(|()| self.check_rules(raw)),
            self.check_database(raw),
        ]
        .into_iter()
        .filter_map(Result::err)
        .collect();

        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Checks the data folder.
    fn check_data(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        let folder = self.moderation.parent().unwrap_or(Path::new("."));
        let is_written = match &self.store {
            StoreSettings::Sqlite(settings) => settings.path.parent() == Some(folder),
            // The folder is created with the first ban.
            StoreSettings::Memory(_) => false,
            StoreSettings::Nats(_) => return Ok(()),
        };

        check_folder(folder, is_written).map_err(|reason| {
            raw.invalid("data", &format!("a folder that can be created: {reason}"))
        })
    }

    /// Checks the folder of a database outside of the data folder.
    fn check_database(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        let StoreSettings::Sqlite(settings) = &self.store else {
            return Ok(());
        };

        let folder = settings.path.parent().unwrap_or(Path::new("/"));
        if self.moderation.parent() == Some(folder) {
            return Ok(());
        }

        check_folder(folder, true).map_err(|reason| {
            let allowed = format!("a file in a folder that can be created: {reason}");
            raw.invalid("store", &allowed)
        })
    }

    /// Checks the file with bans and closed rooms.
    fn check_rules(&self, raw: &RawConfig) -> Result<(), ConfigError> {
        // The nodes of a cluster store the rules in NATS.
        if matches!(self.store, StoreSettings::Nats(_)) {
            return Ok(());
        }

        match moderation::load(&self.moderation) {
            Ok(_) => Ok(()),
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}"));
                let allowed = format!(
                    "a folder with a valid file of bans: {error}{}",
                    cause.unwrap_or_default()
                );
                Err(raw.invalid("data", &allowed))
            }
        }
    }
}

/// Checks that `folder` exists or can be created, and that this user can write to it if it `is_written` at startup.
fn check_folder(folder: &Path, is_written: bool) -> Result<(), String> {
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
