//! Rules of the drivers that can be left out, to see that a run notices it.

#[derive(Debug, Clone, Copy, Default)]
pub struct Breaks {
    /// `Renew` keeps the lease alive and names what the process held a while ago as well.
    pub renew_without_read: bool,
    /// `Renew` gives a right to a process that has a lease, and no key that the core sees.
    pub renew_without_key: bool,
    /// What follows a commit is told before the commit is stored.
    pub tell_before_storing: bool,
    /// An agent counts its right from the answer of its `Renew`.
    pub right_from_answer: bool,
    /// A commit does not compare the leader's key.
    pub leader_not_compared: bool,
    /// After an unknown outcome the leader goes on without putting its key again.
    pub unknown_not_fenced: bool,
    /// Whoever follows a holder that confirmed nothing does not wait for the margin.
    pub no_margin: bool,
    /// Whoever follows a holder that confirmed nothing does not wait at all.
    pub no_wait: bool,
    /// Positions of a generation that a user has ended count.
    pub late_positions_count: bool,
    /// A lane begins by positions that may be old, whatever they are.
    pub old_positions_count: bool,
}
