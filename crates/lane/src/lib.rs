//! What makes a lane exact: each record of the source arrives once, in order, whoever sends it and whatever fails.
//!
//! A lane owns one producer id at the destination. The n-th record of a lane generation is determined by the source log
//! alone and always travels with the sequence `(n - base_n) mod 2^31`, so the broker's own check of sequences is a
//! compare-and-set: an accepted batch is the right data in the right place. Where the broker may have forgotten the
//! producer (its memory is measured by record timestamps: [`fence`]), the right of the assignment epoch stands in.
//!
//! [`Lane`] is the state machine of one lane: [`Lane::step`] takes what happened and says what to do. It counts records
//! and offsets; bytes stay in the shell. An agent runs one for each lane it copies.
//!
//! What the shell owes it: an answer to each question, proposal, position and batch, "lost" at the latest; one offer at a
//! time; the right read, and the clock, immediately before a step whose `Send` it writes out at once.
//!
//! Absent on purpose: async, I/O, clocks, randomness (all come in with [`Now`]), payload, brokers' addresses, metrics.
//!
//! Start with [`event`] (what happens, what is wanted), then [`verdict`] (what each error of a broker means), [`evidence`]
//! (how a resuming lane knows what arrived), [`fence`], and then [`machine`], which puts them together. [`align`] is for
//! compacted sources, [`loss`] for what cannot be exact any more. `tests/schedules` runs the machine against a model of
//! brokers, and shows that no rule of [`Rules`] can be left out.

pub mod align;
pub mod birth;
pub mod event;
pub mod evidence;
pub mod fence;
pub mod loss;
pub mod machine;
pub mod verdict;

pub use align::Fingerprint;
pub use birth::{Birth, DestinationFacts, Start, Stored};
pub use event::{
    Action, Answer, Event, Evidence, Now, Offer, Outcome, Parking, ProducerState, Question, Read, Refusal,
    Right, Send, SourceTrouble, Status, TailBatch, Waiting,
};
pub use loss::{Gap, Loss, Remedy, Stop};
pub use machine::{Lane, Rules};
