//! A response's body, joined from the pieces in which it comes.

use bytes::{Bytes, BytesMut};

use crate::failure::{Failure, FailureKind};

/// The longest body that is read. A chain of ten RSA-4096 certificates has 25 KB.
pub(crate) const LONGEST_BODY: u64 = 1 << 20;

/// The pieces so far. One alone, which is how ACME's bodies come, is not copied.
pub(crate) struct Body<'a> {
    received: &'a mut u64,
    first: Bytes,
    joined: BytesMut,
}

impl<'a> Body<'a> {
    /// Nothing yet; `received` counts the bytes, whatever becomes of the body.
    pub(crate) fn new(received: &'a mut u64) -> Self {
        Self { received, first: Bytes::new(), joined: BytesMut::new() }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`FailureKind::Malformed`] past [`LONGEST_BODY`].
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), Failure> {
        *self.received += piece.len() as u64;
        if *self.received > LONGEST_BODY {
            let message = format!("its body has more than {LONGEST_BODY} bytes");
            return Err(Failure::new(FailureKind::Malformed, message));
        }
        if self.first.is_empty() {
            self.first = piece;
            return Ok(());
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
        Ok(())
    }

    /// All of it.
    pub(crate) fn joined(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
