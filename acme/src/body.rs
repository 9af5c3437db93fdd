//! A response's body, joined from its pieces.

use bytes::{Bytes, BytesMut};

use crate::FailureClass;
use crate::failure::Failure;

/// The longest body that is read. A chain of ten RSA-4096 certificates has 25 KB.
pub(crate) const LONGEST_BODY: u64 = 1 << 20;

/// The pieces so far. A single piece, the usual case, is not copied.
pub(crate) struct Body<'a> {
    received: &'a mut u64,
    first: Bytes,
    joined: BytesMut,
}

impl<'a> Body<'a> {
    /// An empty body; `received` counts the bytes, also if the body is refused.
    pub(crate) fn new(received: &'a mut u64) -> Self {
        Self { received, first: Bytes::new(), joined: BytesMut::new() }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`FailureClass::Malformed`] past [`LONGEST_BODY`].
    pub(crate) fn push(&mut self, piece: Bytes) -> Result<(), Failure> {
        *self.received += piece.len() as u64;
        if *self.received > LONGEST_BODY {
            let message = format!("its body has more than {LONGEST_BODY} bytes");
            return Err(Failure::new(FailureClass::Malformed, message));
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

    /// The whole body.
    pub(crate) fn joined(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
