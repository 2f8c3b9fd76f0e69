//! A data message that arrives in pieces, or compressed.

use crate::server::wire::Violation;
use crate::server::wire::deflate::inflate;

/// Pieces without a byte that one message may have; only an attack has more.
const MAX_EMPTY_FRAGMENTS: u32 = 256;
/// How much longer a compressed message may be: a block that could not be made smaller has five bytes around it,
/// and no compressor that is in use makes blocks of less than 16 KiB of those.
const BLOCK_OVERHEAD: usize = 5;
const SHORTEST_BLOCK: usize = 16 * 1024;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct MessageBuffer {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
    /// How many of `bytes` are known to be valid UTF-8, unless they are compressed.
    valid: usize,
    empty_fragments: u32,
}

/// How many bytes may come for a message of at most `max_message`.
pub(super) const fn max_wire_bytes(max_message: usize, is_compressed: bool) -> usize {
    match is_compressed {
        true => max_message.saturating_add(BLOCK_OVERHEAD * (1 + max_message / SHORTEST_BLOCK)),
        false => max_message,
    }
}

impl MessageBuffer {
    /// Nothing of it is here.
    pub(super) const fn new(is_text: bool, is_compressed: bool) -> Self {
        Self {
            is_text,
            is_compressed,
            bytes: Vec::new(),
            valid: 0,
            empty_fragments: 0,
        }
    }

    /// Whether it is text.
    pub(super) const fn is_text(&self) -> bool {
        self.is_text
    }

    /// Whether what arrives is compressed.
    pub(super) const fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// How many bytes have arrived.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it takes.
    pub(super) const fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// A further piece has begun, of `length` bytes.
    ///
    /// # Errors
    /// If too many had none.
    pub(super) const fn check_length(&mut self, length: u64) -> Result<(), Violation> {
        if length == 0 {
            self.empty_fragments += 1;
            if self.empty_fragments > MAX_EMPTY_FRAGMENTS {
                return Err(Violation::EmptyFragments);
            }
        }
        Ok(())
    }

    /// Takes the next bytes of it. Bad text is refused as soon as it is bad.
    ///
    /// # Errors
    /// If it is not UTF-8 though it should be.
    pub(super) fn append(&mut self, bytes: &[u8], is_last: bool) -> Result<(), Violation> {
        self.bytes.extend_from_slice(bytes);
        if !self.is_text || self.is_compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            // A character cut in two by the end of the bytes: the rest may still come.
            Err(error) if error.error_len().is_none() && !is_last => {
                self.valid += error.valid_up_to()
            }
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }

    /// What it says, inflated if need be to at most `max_message` bytes.
    ///
    /// # Errors
    /// If it cannot be inflated, or not to so few.
    pub(super) fn finish(self, max_message: usize) -> Result<Vec<u8>, Violation> {
        if self.is_compressed {
            inflate(&self.bytes, max_message)
        } else {
            Ok(self.bytes)
        }
    }
}
