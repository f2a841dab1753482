//! Which agent keeps Connect's topics (`config.storage.topic`, `status.storage.topic`) in step with the store.

use super::Core;
use super::view::Holder;

impl Core {
    /// The first by id of those that are connected, copy to where the fleet does, are heard and are to stay; nothing:
    /// there is none. An agent that goes, or comes, moves the duty at once: it needs no handover.
    #[must_use]
    pub fn scribe(&self) -> Option<Holder> {
        let able = self.sessions.iter().filter(|(id, session)| {
            let is_drained = self.view.agents.get(*id).is_none_or(|agent| agent.drained);
            session.is_settled && !session.draining && !is_drained && self.is_there(&session.holder)
        });
        able.map(|(_, session)| session.holder.clone()).next()
    }

    /// What its records are marked with: a store that was lost, or restored from an older copy, does not know whether
    /// it made what older records tell of.
    #[must_use]
    pub fn scribes_mark(&self) -> String {
        format!("{}/{}", self.view.meta.store_id, self.view.meta.incarnation)
    }
}
