//! The half that writes: what is queued together goes out together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Outgoing, Pending, Shared};
use crate::error::{BreakCause, Error};
use crate::frame::RequestHead;

/// Segments handed to the kernel at once.
const SLICES_MAX: usize = 64;

pub(super) async fn write_requests(
    mut to: Box<dyn AsyncWrite + Send + Unpin>,
    mut queued: mpsc::Receiver<Outgoing>,
    unanswered: mpsc::Sender<Pending>,
    client_id: String,
    shared: Arc<Shared>,
) {
    let mut framer = Framer { client_id, correlation: 0, segments: VecDeque::new() };
    let work = async {
        while let Some(first) = queued.recv().await {
            unmuted(&shared).await;
            // Whoever reads the answers has ended, and said why.
            let Ok(permit) = unanswered.reserve().await else { return Ok(()) };
            if let Some(pending) = framer.frame(first)? {
                permit.send(pending);
            }
            while let Ok(permit) = unanswered.try_reserve()
                && let Ok(next) = queued.try_recv()
            {
                if let Some(pending) = framer.frame(next)? {
                    permit.send(pending);
                }
            }
            write_all(&mut to, &mut framer.segments).await.map_err(BreakCause::Io)?;
        }
        // The handle asked for an end: the reader goes on until all is answered.
        Ok(())
    };
    if let Some(Err(cause)) = shared.stop.run_until_cancelled(work).await {
        shared.broken(cause);
    }
    // The half stays open until the last answer: brokers take a closed one for a client that has gone.
    drop(unanswered);
    shared.stop.cancelled().await;
}

async fn unmuted(shared: &Shared) {
    let mut muted = shared.muted_until.subscribe();
    let until = *muted.borrow_and_update();
    if until > Instant::now() {
        sleep_until(until).await;
    }
}

/// Numbers requests and puts their headers before them.
struct Framer {
    client_id: String,
    correlation: i32,
    segments: VecDeque<Bytes>,
}

impl Framer {
    /// Nothing when nobody waits for the answer any more.
    fn frame(&mut self, outgoing: Outgoing) -> Result<Option<Pending>, BreakCause> {
        let Outgoing { api, version, segments, body_bytes, timeout, reply } = outgoing;
        if reply.is_closed() {
            return Ok(None);
        }
        let head = RequestHead { api, version, correlation: self.correlation };
        self.correlation = self.correlation.checked_add(1).unwrap_or(0);
        let mut header = BytesMut::with_capacity(32 + self.client_id.len());
        let garbage = |error: Error| BreakCause::Garbage(Box::new(error));
        head.encode(&self.client_id, body_bytes, &mut header).map_err(garbage)?;
        self.segments.push_back(header.freeze());
        self.segments.extend(segments.into_iter().filter(|segment| !segment.is_empty()));
        let deadline = Instant::now() + timeout;
        Ok(Some(Pending { head, deadline, timeout, reply }))
    }
}

/// Leaves the queue empty.
async fn write_all(
    to: &mut (impl AsyncWrite + Unpin + ?Sized),
    segments: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !segments.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        for (slice, segment) in slices.iter_mut().zip(segments.iter()) {
            *slice = IoSlice::new(segment);
            used += 1;
        }
        let written = to.write_vectored(&slices[..used]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        consume(segments, written);
    }
    to.flush().await
}

fn consume(segments: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = segments.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        segments.pop_front();
    }
}
