//! How long tasks stand still when their agent is killed, and with it the leader: measured at the destination, and by
//! what the fleet itself tells of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use copyist_tests::exact::{Age, dice, while_written};
use copyist_tests::{FleetOptions, suite};

use crate::stage::Stage;

const PARTITIONS: u32 = 12;
