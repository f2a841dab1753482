//! Which batches of a Fetch answer (isolation level read_committed) are data. The broker names the aborted transactions
//! that touch the answer; the filter is per batch, as in Kafka's `CompletedFetch`.

use std::collections::BTreeSet;

use crate::batch::Batch;
use crate::codec::Codec;
use crate::error::{Error, Fault};
use crate::record::Records;

/// What a batch is to a reader of committed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// To be copied.
    Data,
    /// A marker, never copied.
    Control,
    /// Of an aborted transaction, never copied.
    Aborted,
}

/// The aborted transactions of one partition's answer. The list covers those begun before the answer too, so each
/// answer begins anew.
#[derive(Debug, Clone, Default)]
pub struct Aborted {
    /// (first offset, producer id), the lowest last.
    ahead: Vec<(i64, i64)>,
    /// Producers within an aborted transaction.
    open: BTreeSet<i64>,
}

const ABORT: i16 = 0;

impl Aborted {
    /// From the answer's list of (producer id, first offset), in any order.
    #[must_use]
    pub fn new(list: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut ahead: Vec<_> = list.into_iter().map(|(producer, first)| (first, producer)).collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        Self { ahead, open: BTreeSet::new() }
    }

    /// Judges the answer's next batch.
    ///
    /// # Errors
    /// A control batch whose record cannot be read.
    pub fn judge(&mut self, batch: &Batch<'_>) -> Result<Judged, Error> {
        let producer = batch.producer_id();
        if producer >= 0 {
            while let Some((_, aborted)) = self.ahead.pop_if(|(first, _)| *first <= batch.last_offset()) {
                self.open.insert(aborted);
            }
        }
        if batch.is_control() {
            if producer >= 0 && is_abort(batch)? {
                self.open.remove(&producer);
            }
            return Ok(Judged::Control);
        }
        let aborted = batch.is_transactional() && self.open.contains(&producer);
        Ok(if aborted { Judged::Aborted } else { Judged::Data })
    }
}

/// Whether a control batch ends a transaction by abort. The cleaner may have left it empty: then it ends nothing.
fn is_abort(batch: &Batch<'_>) -> Result<bool, Error> {
    if batch.codec() != Codec::None {
        let fault = Fault::Codec(batch.codec().bits());
        return Err(Error::Batch { at: 0, base_offset: batch.base_offset(), fault });
    }
    let Some(record) = Records::new(batch, batch.records()).next() else { return Ok(false) };
    let key = record?.view()?.key.and_then(|key| key.first_chunk::<4>());
    let Some([_, _, high, low]) = key else {
        let base_offset = batch.base_offset();
        return Err(Error::Record { base_offset, index: 0, at: 0, fault: Fault::ControlKey });
    };
    Ok(i16::from_be_bytes([*high, *low]) == ABORT)
}
