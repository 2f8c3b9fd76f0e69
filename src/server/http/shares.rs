//! The resources that each client address uses: connections, request bodies, unread responses, and waiting requests for
//! pages.
//!
//! An address is an IPv4 address or an IPv6 /64. For requests from a trusted proxy it is the address of the client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::server::memory::Memory;
use crate::server::session::IpBucket;

/// The divisor of the memory budget for one address: its request bodies may use one part in this many, and so may its
/// unread responses.
const PART_OF_BUDGET: usize = 16;
/// The most requests from one address that wait for a page.
pub(super) const MAX_WAITING_FOR_PAGES: usize = 1024;
/// Bytes of a body for each permit of the semaphore.
const BYTES_PER_PERMIT: usize = 1024;

/// A handle to the shares of all addresses in use, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressShares(Arc<Mutex<HashMap<IpBucket, Weak<AddressShare>>>>);

/// The share of one address. It is removed when its last user is dropped.
#[derive(Debug)]
pub(super) struct AddressShare {
    host: IpBucket,
    shares: AddressShares,
    connections: AtomicUsize,
    /// Bytes of responses that the kernel has not accepted.
    unread: AtomicUsize,
    /// The limit for bytes of bodies, and for bytes of responses.
    bytes: usize,
    /// Permits for bytes of request bodies.
    bodies: Semaphore,
    /// Permits for requests that wait for a page.
    waiting_for_pages: Semaphore,
}

/// Bytes of a response that count as unread until this is dropped.
#[derive(Debug)]
pub(super) struct UnreadBytes {
    share: Arc<AddressShare>,
    bytes: usize,
}

impl AddressShares {
    /// Returns the share of `host`.
    pub(super) fn of(&self, host: IpBucket) -> Arc<AddressShare> {
        let mut shares = self.0.lock();
        if let Some(share) = shares.get(&host).and_then(Weak::upgrade) {
            return share;
        }

        let bytes = Memory::of_process().budget() / PART_OF_BUDGET;
        let share = Arc::new(AddressShare::new(host, self.clone(), bytes));
        shares.insert(host, Arc::downgrade(&share));

        share
    }
}

impl AddressShare {
    fn new(host: IpBucket, shares: AddressShares, bytes: usize) -> Self {
        let bytes = bytes.clamp(BYTES_PER_PERMIT, u32::MAX as usize);
        Self {
            host,
            shares,
            connections: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            bytes,
            bodies: Semaphore::new(bytes / BYTES_PER_PERMIT),
            waiting_for_pages: Semaphore::new(MAX_WAITING_FOR_PAGES),
        }
    }

    /// Returns the address.
    pub(super) const fn host(&self) -> IpBucket {
        self.host
    }

    /// Returns the limit for bytes of bodies, which is also the limit for responses.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of connections.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Adds one connection to the count.
    pub(super) fn connect(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes one connection from the count.
    pub(super) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits until a body of `bytes` fits beside the others of this address. A body larger than the share takes all of it.
    pub(super) async fn body(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let all = self.bytes / BYTES_PER_PERMIT;
        let permits = bytes.div_ceil(BYTES_PER_PERMIT).min(all);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.bodies.acquire_many(permits).await.ok()
    }

    /// Counts a request that waits for a page to be rendered, until the permit is dropped; `None` if
    /// [`MAX_WAITING_FOR_PAGES`] wait already.
    pub(super) fn wait_for_page(&self) -> Option<SemaphorePermit<'_>> {
        self.waiting_for_pages.try_acquire().ok()
    }

    /// Counts `bytes` of a response as unread; `None` if they do not fit beside the others. If nothing is unread, any
    /// number fits.
    pub(super) fn try_count_unread(self: &Arc<Self>, bytes: usize) -> Option<UnreadBytes> {
        let add = |unread: usize| {
            let total = unread.saturating_add(bytes);
            (unread == 0 || total <= self.bytes).then_some(total)
        };
        self.unread
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;

        Some(UnreadBytes {
            share: self.clone(),
            bytes,
        })
    }

    /// Counts `bytes` of a response as unread, without a limit.
    pub(super) fn count_unread(self: &Arc<Self>, bytes: usize) -> UnreadBytes {
        self.unread.fetch_add(bytes, Ordering::Relaxed);
        UnreadBytes {
            share: self.clone(),
            bytes,
        }
    }
}

impl Drop for UnreadBytes {
    fn drop(&mut self) {
        self.share.unread.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for AddressShare {
    fn drop(&mut self) {
        let mut shares = self.shares.0.lock();
        // A new share for the same address may have been created since the last reference to this one was dropped.
        if shares
            .get(&self.host)
            .is_some_and(|share| share.strong_count() == 0)
        {
            shares.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> IpBucket {
        IpBucket::of(text.parse().expect("an address"))
    }

    #[test]
    fn clients_of_one_network_have_one_share_that_is_removed_with_the_last_of_them() {
        let shares = AddressShares::default();
        let first = shares.of(host("2001:db8::1"));
        let second = shares.of(host("2001:db8::2"));
        assert!(Arc::ptr_eq(&first, &second));

        drop(first);
        assert_eq!(shares.0.lock().len(), 1);
        drop(second);
        assert_eq!(shares.0.lock().len(), 0);
    }

    #[test]
    fn unread_responses_are_limited_before_they_are_sent() {
        let share = AddressShare::new(host("192.0.2.1"), AddressShares::default(), 1 << 20);
        let share = Arc::new(share);

        let first = share.try_count_unread(usize::MAX);
        assert!(first.is_some(), "the first one has no limit");
        assert!(share.try_count_unread(1).is_none());
        drop(first);

        let half = share.try_count_unread(share.bytes() / 2);
        let other_half = share.try_count_unread(share.bytes() / 2);
        assert!(half.is_some() && other_half.is_some());
        assert!(share.try_count_unread(1).is_none());

        drop(half);
        assert!(share.try_count_unread(1).is_some());
    }
}
