//! The rows of the table `hooks`: the states of the hooks.

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::oneshot;

use crate::protocol::{Epoch, Offset, Position};
use crate::server::store::sqlite::reader::{ReaderPool, Readers};
use crate::server::store::{HookState, HookStatus, StoreError};

/// The state of a hook to be stored.
pub(super) struct HookWrite {
    pub(super) name: String,
    pub(super) state: HookState,
    /// The caller, who waits for the commit.
    pub(super) result: oneshot::Sender<Result<(), StoreError>>,
}

impl HookWrite {
    /// Writes the row in the caller's transaction.
    pub(super) fn apply(&self, connection: &Connection) -> rusqlite::Result<()> {
        let HookState { position, status } = &self.state;
        let epoch = position.epoch.as_str();
        connection
            .prepare_cached("INSERT OR REPLACE INTO hooks VALUES (?1, ?2, ?3, ?4)")?
            .execute((&self.name, epoch, position.offset.0, status.as_str()))?;
        Ok(())
    }

    /// Sends the result of the commit to the caller.
    pub(super) fn finish(self, failure: Option<&StoreError>) {
        let result = failure.cloned().map_or(Ok(()), Err);
        // Sending fails if the caller has gone; the state remains stored.
        let _ = self.result.send(result);
    }
}

impl Readers {
    /// Reads the state of the hook `name`; `None` if it was never stored.
    ///
    /// # Errors
    /// If the database cannot be read now.
    pub(super) fn hook(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<HookState>, StoreError>> + Send + 'static {
        let (pool, name) = (self.0.clone(), name.to_owned());
        async move {
            let read = move |_: &ReaderPool, connection: &Connection| load(connection, &name);
            pool.read(read).await
        }
    }
}

fn load(connection: &Connection, name: &str) -> rusqlite::Result<Option<HookState>> {
    let query = "SELECT epoch, offset, status FROM hooks WHERE name = ?1";
    let state = connection.query_row(query, [name], |row| {
        let epoch: String = row.get(0)?;
        let status: String = row.get(2)?;
        Ok(HookState {
            position: Position {
                epoch: Epoch::from(epoch),
                offset: Offset(row.get(1)?),
            },
            status: HookStatus::named(&status),
        })
    });
    state.optional()
}
