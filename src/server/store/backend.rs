//! The choice of a store by the settings, and its opening.

use std::sync::Arc;

use crate::server::store::{
    ClusterBackend, MemorySettings, MemoryStore, NatsError, NatsSettings, NatsStore, OpenError,
    SqliteSettings, SqliteStore, Store,
};

/// The kind of store, and its settings.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// In memory: the messages are lost when the process ends.
    Memory(MemorySettings),
    /// In a SQLite database.
    Sqlite(SqliteSettings),
    /// In a NATS stream that several nodes share.
    Nats(NatsSettings),
}

/// The reason why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The database cannot be opened.
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    /// The stream cannot be opened.
    #[error(transparent)]
    Nats(#[from] NatsError),
}

/// An open store, and the connections to other nodes if several share it.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The log of all rooms.
    pub store: Arc<dyn Store>,
    /// The connections to other nodes, if there may be any.
    pub cluster: Option<ClusterBackend>,
}

impl Backend {
    /// Creates the backend of a node that shares `store` with no other.
    pub fn single(store: impl Store + 'static) -> Self {
        Self {
            store: Arc::new(store),
            cluster: None,
        }
    }
}

impl StoreSettings {
    /// Opens the store.
    ///
    /// # Errors
    /// If the file or the stream cannot be opened.
    pub async fn open(&self) -> Result<Backend, OpenStoreError> {
        Ok(match self {
            Self::Memory(settings) => Backend::single(MemoryStore::new(settings)),
            Self::Sqlite(settings) => Backend::single(SqliteStore::open(settings)?),
            Self::Nats(settings) => NatsStore::connect(settings).await?.into_backend(),
        })
    }
}
