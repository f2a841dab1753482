//! What the tests of exactness share: a Copyist that dies again and again, a producer that writes on meanwhile, what
//! the logs of its lives say, and the comparison in the end, which is by offset and forgives nothing.
//!
//! Start with [`lives`].

pub mod dice;
pub mod equality;
pub mod feed;
pub mod gate;
pub mod killed;
pub mod lives;
pub mod run;
pub mod tally;

pub use dice::Dice;
pub use equality::{Copies, check};
pub use feed::{Age, CODECS, Feed, write_until};
pub use gate::Gate;
pub use killed::kill_brokers;
pub use lives::{Lives, Place};
pub use run::{at, dice, finish, forgetful, live, lives, require, while_written};
pub use tally::Tally;

use std::collections::BTreeMap;

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;
