//! The half that reads: each answer whole, into a buffer that is used again once nobody needs it.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::{Pending, Shared};
use crate::error::{BreakCause, Error};
use crate::frame::answer_size;
use crate::options::ConnectionOptions;
use crate::pool::BufferPool;

type Half = Box<dyn AsyncRead + Send + Unpin>;

pub(super) async fn read_answers(
    mut from: Half,
    mut pending: mpsc::Receiver<Pending>,
    options: ConnectionOptions,
    shared: Arc<Shared>,
) {
    let mut pool = BufferPool::new(options.pool_bytes_max);
    let work = async {
        while let Some(next) = next_pending(&mut from, &mut pending).await? {
            let reading = read_answer(&mut from, &mut pool, options.response_bytes_max);
            let frame = until_due(reading, &next, &shared).await?;
            let body = next.head.body(&frame).map_err(garbage)?;
            // Whoever has gone away meanwhile does not need it.
            let _ = next.reply.send(body);
        }
        Ok(())
    };
    match shared.stop.run_until_cancelled(work).await {
        Some(Err(cause)) => shared.broken(cause),
        // Closed by the handle, all answered.
        Some(Ok(())) => shared.broken(BreakCause::Aborted),
        None => (),
    }
    // Only now, as the cause is known, those that wait learn that nothing will come.
    drop(pending);
}

/// The request whose answer comes next; nothing when there will be none. While none is out the broker has nothing to
/// say, and may hang up.
async fn next_pending(
    from: &mut Half,
    pending: &mut mpsc::Receiver<Pending>,
) -> Result<Option<Pending>, BreakCause> {
    let mut byte = [0];
    tokio::select! {
        biased;
        next = pending.recv() => Ok(next),
        read = from.read(&mut byte) => match read {
            Ok(0) => Err(BreakCause::Closed),
            Ok(_) => {
                let why = "bytes that nobody asked for".to_owned();
                Err(garbage(Error::Malformed { what: "an answer", at: 0, why }))
            }
            Err(error) => Err(BreakCause::Io(error)),
        },
    }
}

async fn read_answer(from: &mut Half, pool: &mut BufferPool, bytes_max: usize) -> Result<Bytes, BreakCause> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix).await.map_err(read_error)?;
    let size = answer_size(prefix, bytes_max).map_err(garbage)?;
    let mut buffer = pool.take(size);
    while buffer.len() < size {
        let rest = size - buffer.len();
        let read = from.read_buf(&mut (&mut buffer).limit(rest)).await.map_err(read_error)?;
        if read == 0 {
            return Err(BreakCause::Closed);
        }
    }
    Ok(pool.lend(buffer))
}

/// Waits for the answer until its deadline. While the broker mutes us it answers nothing, so that time does not count.
async fn until_due(
    reading: impl Future<Output = Result<Bytes, BreakCause>>,
    pending: &Pending,
    shared: &Shared,
) -> Result<Bytes, BreakCause> {
    let mut reading = pin!(reading);
    let mut due = pending.deadline;
    loop {
        tokio::select! {
            biased;
            read = &mut reading => return read,
            () = sleep_until(due) => {
                let later = *shared.muted_until.borrow() + pending.timeout;
                if later <= due {
                    return Err(BreakCause::NoAnswer { api: pending.head.api, after: pending.timeout });
                }
                due = later;
            }
        }
    }
}

fn read_error(error: io::Error) -> BreakCause {
    if error.kind() == io::ErrorKind::UnexpectedEof { BreakCause::Closed } else { BreakCause::Io(error) }
}

fn garbage(error: Error) -> BreakCause {
    BreakCause::Garbage(Box::new(error))
}
