//! One direction of one connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::frames::{Frames, client_id};
use super::plan::{Dice, Doom, Fault, Way};
use super::{Shared, close, is_spared};
use crate::wait::{Deadline, pause};

/// How long a direction looks at its socket before it looks whether all is over.
const LOOK: Duration = Duration::from_millis(100);
const CHUNK_BYTES: usize = 16 << 10;
/// What is delayed stays so for so many bytes.
const DELAYED_BYTES: u64 = 4 << 10;

/// What both directions of a connection know.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// Set by the direction that sees the client's id.
    pub spared: &'a AtomicBool,
    /// Bytes of answers since the last request.
    pub answered: &'a AtomicU64,
}

pub(super) struct Pipe<'a> {
    shared: &'a Shared,
    both: Known<'a>,
    from: &'a TcpStream,
    to: &'a TcpStream,
    way: Way,
    dice: Dice,
    next: Doom,
    patience: Deadline,
    /// Bytes that passed since the last fault, while the network rages.
    passed: u64,
    delay: Option<(Duration, u64)>,
    frames: Frames,
    /// The first bytes, until the client's id is known.
    begin: Option<Vec<u8>>,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

impl<'a> Pipe<'a> {
    /// From where to where.
    pub fn new(
        shared: &'a Shared,
        both: Known<'a>,
        [from, to]: [&'a TcpStream; 2],
        (way, mut dice): (Way, Dice),
    ) -> Pipe<'a> {
        let next = dice.next();
        let begin = (way == Way::Requests).then(Vec::new);
        Pipe {
            shared,
            both,
            from,
            to,
            way,
            dice,
            next,
            patience: Deadline::after(next.patience),
            passed: 0,
            delay: None,
            frames: Frames::default(),
            begin,
        }
    }

    /// Until the connection ends, by either side, or by a fault.
    pub fn carry(mut self) {
        let _blocks = self.from.set_read_timeout(Some(LOOK));
        let mut chunk = vec![0; CHUNK_BYTES];
        while !self.shared.stops() {
            match (&mut &*self.from).read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    self.meet(&chunk[..count]);
                    self.travel(count as u64);
                    if self.pass(&chunk[..count]) == Goes::Over {
                        return;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(_) => break,
            }
        }
        let _closed = self.to.shutdown(Shutdown::Write);
        if self.way == Way::Answers {
            close(self.from);
            close(self.to);
        }
    }

    /// Learns who the client is.
    fn meet(&mut self, bytes: &[u8]) {
        let Some(begin) = &mut self.begin else { return };
        begin.extend_from_slice(bytes);
        if let Some(id) = client_id(begin) {
            self.both.spared.store(is_spared(&id), Ordering::Release);
            self.begin = None;
        }
    }

    fn travel(&self, bytes: u64) {
        match self.way {
            Way::Answers => {
                let since_request = self.both.answered.fetch_add(bytes, Ordering::AcqRel) + bytes;
                self.shared.largest_answer.fetch_max(since_request, Ordering::AcqRel);
            }
            Way::Requests => {
                self.both.answered.store(0, Ordering::Release);
                let arrived = Deadline::after(self.shared.distance());
                while !arrived.passed() && !self.shared.stops() {
                    pause();
                }
            }
        }
    }

    fn suffers(&self) -> bool {
        self.shared.rages() && !self.both.spared.load(Ordering::Acquire)
    }

    fn pass(&mut self, bytes: &[u8]) -> Goes {
        if !self.suffers() {
            return self.write(bytes);
        }
        self.dawdle(bytes.len() as u64);
        let Some(before) = self.due(bytes.len()) else {
            self.passed += bytes.len() as u64;
            return self.write(bytes);
        };
        let doom = self.next;
        match doom.fault {
            Fault::CutRequest | Fault::CutAnswer | Fault::Truncated => self.cut(bytes, before, doom.fault),
            Fault::Delayed => {
                self.shared.happened(doom.fault);
                self.delay = Some((doom.time, DELAYED_BYTES));
                self.draw();
                self.write(bytes)
            }
            Fault::Stalled => {
                if self.write(&bytes[..before]) == Goes::Over {
                    return Goes::Over;
                }
                self.shared.happened(doom.fault);
                self.rest(doom.time);
                self.draw();
                if doom.ends { self.end() } else { self.write(&bytes[before..]) }
            }
        }
    }

    /// Where in the next bytes it is time for what comes next.
    fn due(&self, bytes: usize) -> Option<usize> {
        let until = usize::try_from(self.next.at.saturating_sub(self.passed)).ok();
        let early = until.filter(|at| *at < bytes);
        let late = self.patience.passed().then(|| bytes * self.next.into as usize / 1_000);
        early.or(late)
    }

    /// Ends it in the middle of a frame: where `before` is the end of one, a byte later.
    fn cut(&mut self, bytes: &[u8], before: usize, fault: Fault) -> Goes {
        let inside = |at: &usize| self.frames.after(&bytes[..*at]).is_inside();
        let Some(at) = (before..bytes.len()).find(inside) else {
            // There is none in this: soon, then.
            self.passed += bytes.len() as u64;
            self.next.at = self.passed;
            return self.write(bytes);
        };
        let _gone = self.write(&bytes[..at]);
        self.shared.happened(fault);
        if fault == Fault::Truncated {
            // The client hears the end; what it has asked for is carried out.
            let _closed = self.to.shutdown(Shutdown::Write);
            self.rest(LOOK);
        } else {
            // Abruptly: unread bytes are thrown away.
            let _abrupt = socket2::SockRef::from(self.to).set_linger(Some(Duration::ZERO));
        }
        self.end()
    }

    fn end(&self) -> Goes {
        close(self.from);
        close(self.to);
        Goes::Over
    }

    fn draw(&mut self) {
        self.next = self.dice.next();
        self.patience = Deadline::after(self.next.patience);
        self.passed = 0;
    }

    fn dawdle(&mut self, bytes: u64) {
        if let Some((time, left)) = self.delay {
            self.rest(time);
            self.delay = left.checked_sub(bytes).map(|left| (time, left));
        }
    }

    fn rest(&self, time: Duration) {
        let over = Deadline::after(time);
        while !over.passed() && self.shared.rages() && !self.shared.stops() {
            pause();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Goes {
        self.frames = self.frames.after(bytes);
        match (&mut &*self.to).write_all(bytes) {
            Ok(()) => Goes::On,
            Err(_) => self.end(),
        }
    }
}
