//! The payload of a data message that is fragmented, compressed, or still arriving.

use crate::server::wire::Violation;
use crate::server::wire::deflate::inflate;

/// Maximum number of empty fragments in one message. Only an attacker sends more.
const MAX_EMPTY_FRAGMENTS: u32 = 256;
/// Overhead of a deflate block that cannot be compressed, in bytes. It bounds the length of a compressed message
/// together with [`MIN_BLOCK`].
const BLOCK_OVERHEAD: usize = 5;
/// Minimum length of such blocks in the output of common compressors, in bytes.
const MIN_BLOCK: usize = 16 * 1024;

/// A data message that is arriving.
#[derive(Debug)]
pub(super) struct MessageBuffer {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
    /// Length of the prefix of `bytes` that is valid UTF-8. Unused for compressed messages.
    valid: usize,
    empty_fragments: u32,
}

/// Returns the maximum payload, as sent, of a message of at most `max_message` bytes.
pub(super) const fn max_wire_bytes(max_message: usize, is_compressed: bool) -> usize {
    if is_compressed {
        max_message.saturating_add(BLOCK_OVERHEAD * (1 + max_message / MIN_BLOCK))
    } else {
        max_message
    }
}

impl MessageBuffer {
    /// Creates an empty message.
    pub(super) const fn new(is_text: bool, is_compressed: bool) -> Self {
        Self {
            is_text,
            is_compressed,
            bytes: Vec::new(),
            valid: 0,
            empty_fragments: 0,
        }
    }

    /// Returns true for a text message.
    pub(super) const fn is_text(&self) -> bool {
        self.is_text
    }

    /// Returns true if the payload is compressed.
    pub(super) const fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Returns the number of bytes that have arrived.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the memory that the message takes, in bytes.
    pub(super) const fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Checks the length of the next fragment.
    ///
    /// # Errors
    /// [`Violation::EmptyFragments`] if too many fragments were empty.
    pub(super) const fn check_length(&mut self, length: u64) -> Result<(), Violation> {
        if length == 0 {
            self.empty_fragments += 1;
            if self.empty_fragments > MAX_EMPTY_FRAGMENTS {
                return Err(Violation::EmptyFragments);
            }
        }
        Ok(())
    }

    /// Appends the next bytes. `is_last` is true for the end of the message.
    ///
    /// # Errors
    /// [`Violation::NotUtf8`] as soon as the bytes of an uncompressed text are not valid.
    pub(super) fn append(&mut self, bytes: &[u8], is_last: bool) -> Result<(), Violation> {
        self.bytes.extend_from_slice(bytes);

        if !self.is_text || self.is_compressed {
            return Ok(());
        }

        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            // The last character is incomplete; its rest may follow.
            Err(error) if error.error_len().is_none() && !is_last => {
                self.valid += error.valid_up_to()
            }
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }

    /// Returns the payload, inflated if it is compressed.
    ///
    /// # Errors
    /// [`Violation::TooBig`] if it inflates to more than `max_message` bytes, and [`Violation::BadDeflate`] if it
    /// cannot be inflated.
    pub(super) fn finish(self, max_message: usize) -> Result<Vec<u8>, Violation> {
        if self.is_compressed {
            inflate(&self.bytes, max_message)
        } else {
            Ok(self.bytes)
        }
    }
}
