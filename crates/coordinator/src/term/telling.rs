//! What a term tells beside its decisions: watchers of what is and changes, and all agents at once.

use std::sync::Arc;

use copyist_proto::connect::WatchEvent;
use copyist_proto::control::CoordinatorMessage;

use super::Term;
use crate::grpc::watch;

impl<S> Term<S> {
    /// Sessions, silence and loads are stored nowhere.
    pub(super) fn tell_of_agents(&mut self) {
        if self.known.changes.receiver_count() == 0 {
            self.watched.clear();
            return;
        }
        let agents = self.core.agents();
        let events = watch::agents(self.core.view().revision, &self.watched, &agents);
        self.watched = agents;
        if !events.is_empty() {
            self.tell_watchers(events);
        }
    }

    /// As things are now, whatever has become of them in between.
    pub(super) fn tell_of_stored(&mut self) {
        for (revision, writes) in std::mem::take(&mut self.stored) {
            self.tell_watchers(watch::changed(&self.core, revision, &writes));
        }
    }

    fn tell_watchers(&self, events: Vec<WatchEvent>) {
        // The last watcher may just have gone.
        drop(self.known.changes.send(Arc::new(events)));
    }

    /// Says to every agent what no decision follows from; returns how many were told.
    pub(super) fn tell_agents(&self, message: &CoordinatorMessage) -> u32 {
        let told = self.sessions.values().filter(|session| session.outbox.try_send(message.clone()).is_ok());
        u32::try_from(told.count()).unwrap_or(u32::MAX)
    }
}
