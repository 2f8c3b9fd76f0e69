//! What a client sends: read, decoded, and acted upon, one scratch space for all connections of a thread.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::task::{Context, Poll};

use crate::protocol::CloseCode;
use crate::server::room::Frame;
use crate::server::session::{Farewell, Limiter};
use crate::server::transport::connection::{Connection, Lost, State};
use crate::server::wire::{Decoder, Incoming, Opcode};

/// How much is read at once: enough for a burst to be published in one go.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The reading half of one connection.
pub(super) struct Reader {
    decoder: Decoder,
    limiter: Limiter,
}

impl Reader {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            decoder: Decoder::new(connection.settings.max_message),
            limiter: Limiter::new(connection.settings.rate, connection.hub.now()),
        }
    }

    /// Reads and acts until the client is silent. Ready when the connection ends or is lost.
    pub(super) fn poll(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        connection.waker.register(cx.waker());
        loop {
            let _writable = connection.poll_write(cx);
            let state = connection.lock();
            if state.lost.is_some() || state.outbox.farewell().is_some() {
                return Poll::Ready(());
            }
            // Whoever does not read the answers is not asked for more questions.
            if state.outbox.waiting() >= connection.settings.send_buffer {
                return Poll::Pending;
            }
            drop(state);
            std::task::ready!(connection.stream.poll_read_ready(cx)).ok();
            SCRATCH.with_borrow_mut(|scratch| match connection.stream.try_read(scratch) {
                Ok(0) => connection.lock().lost = Some(Lost::Disconnected),
                Ok(length) => self.take(connection, &mut scratch[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => connection.lock().lost = Some(Lost::Disconnected),
            });
        }
    }

    /// Acts upon `bytes` from the client.
    pub(super) fn take(&mut self, connection: &Connection, bytes: &mut [u8]) {
        let now = connection.hub.now();
        let rate = connection.settings.rate;
        let mut frames = Vec::new();
        let mut pongs = Vec::new();
        let mut farewell = None;
        let limiter = &mut self.limiter;
        let mut publish = |frame: Frame, farewell: &mut Option<Farewell>| {
            if limiter.allows(rate, now) {
                frames.push(frame);
                ControlFlow::Continue(())
            } else {
                *farewell = Some(Farewell::Ours(CloseCode::TooFast));
                ControlFlow::Break(())
            }
        };
        let result = self.decoder.decode(bytes, |incoming| match incoming {
            Incoming::Text(text) => publish(Frame::text(text), &mut farewell),
            Incoming::Binary(bytes) => publish(Frame::binary(bytes), &mut farewell),
            Incoming::Ping(payload) => {
                pongs.push(payload.to_vec());
                ControlFlow::Continue(())
            }
            Incoming::Pong => ControlFlow::Continue(()),
            Incoming::Close(code) => {
                farewell = Some(Farewell::Echo(code));
                ControlFlow::Break(())
            }
        });
        if let Err(violation) = result {
            farewell = Some(Farewell::Ours(violation.close_code()));
        }
        if !frames.is_empty() {
            connection.hub.publish(&connection.room, frames);
        }
        let mut state = connection.lock();
        state.heartbeat.seen(now);
        let State { unfinished, outbox, .. } = &mut *state;
        if self.decoder.is_unfinished() {
            unfinished.get_or_insert(now);
        } else {
            *unfinished = None;
        }
        pongs.iter().for_each(|payload| outbox.push(Opcode::Pong, payload));
        if let Some(farewell) = farewell {
            outbox.close(farewell);
        }
        let must_write = outbox.waiting() > 0 || farewell.is_some();
        if must_write && outbox.blocked().is_none() {
            connection.write(&mut state, &mut connection.room.reel());
        }
    }
}
