//! The batches of a Fetch answer.

use std::ops::Range;

use crate::batch::Batch;
use crate::error::{Error, Fault};

/// A batch and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// Of the buffer walked over, to slice the same bytes out of what owns them.
    pub range: Range<usize>,
    pub batch: Batch<'a>,
}

/// The whole batches of a Fetch answer's records, in order. A broker cuts the last batch where the answer is full: that
/// ends the walk, and [`Walk::cut_bytes`] tells. After an error there is no more.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    buffer: &'a [u8],
    at: usize,
    last_offset: Option<i64>,
    failed: bool,
}

impl<'a> Walk<'a> {
    #[must_use]
    pub fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0, last_offset: None, failed: false }
    }

    /// The bytes not yet walked over: at the end, those of the batch that was cut (0: none was).
    #[must_use]
    pub fn cut_bytes(&self) -> usize {
        self.buffer.len() - self.at
    }

    fn step(&mut self) -> Result<Option<Found<'a>>, Error> {
        let Some(batch) = Batch::at(self.buffer, self.at)? else { return Ok(None) };
        if let Some(last_offset) = self.last_offset
            && batch.base_offset() <= last_offset
        {
            let fault = Fault::NotRising(last_offset);
            return Err(Error::Batch { at: self.at, base_offset: batch.base_offset(), fault });
        }
        let range = self.at..self.at + batch.total_bytes();
        self.at = range.end;
        self.last_offset = Some(batch.last_offset());
        Ok(Some(Found { range, batch }))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Found<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let found = self.step().transpose();
        self.failed = matches!(found, Some(Err(_)));
        found
    }
}
