//! Who may take part: hellos, and what heartbeats tell of where an agent copies to.

use super::{REPLACED_MAX, Session, Term};
use crate::core::{Destination, Event, Holder};
use crate::error::{Error, chain};
use crate::handle::{Hello, Opened};
use crate::store::Store;

impl<S: Store> Term<S> {
    pub(super) async fn heartbeat(
        &mut self,
        holder: Holder,
        destination: Option<Destination>,
    ) -> Result<(), Error> {
        if destination.as_ref().is_some_and(|destination| self.foreign(destination).is_some()) {
            // Its next Hello is told why.
            self.drop_session(&holder);
            return self.step(Event::SessionEnded(holder)).await;
        }
        let is_known = destination.is_some();
        self.learn(&holder, destination).await?;
        if is_known && self.unsettled.remove(&holder) {
            return self.step(Event::Settled(holder)).await;
        }
        self.step(Event::Heartbeat(holder)).await
    }

    /// Why a process may not take part.
    fn refusal(&self, holder: &Holder, group_id: &str, destination: Option<&Destination>) -> Option<String> {
        let ours = &self.settings.group_id;
        if !group_id.is_empty() && group_id != ours {
            return Some(format!(
                "these coordinators serve the fleet {ours}, and this agent is set to the fleet {group_id}: correct its \
                 group.id, or its coordinator.endpoints"
            ));
        }
        // Once the newer one is gone, it may come back.
        let is_taken = self.core.view().agents.contains_key(&holder.agent);
        if is_taken && self.replaced.contains(holder) {
            return Some(format!(
                "another process that started later has the id {}: give each agent an agent.id of its own, or stop one \
                 of the two",
                holder.agent
            ));
        }
        self.foreign(destination?)
    }

    pub(super) async fn hello(&mut self, hello: Hello) -> Result<(), Error> {
        let Hello { mut hello, group_id, destination, outbox, opened } = hello;
        if opened.is_closed() {
            // It asks again already: where etcd is slow, who waits no more must not cost the others their time.
            return Ok(());
        }
        hello.is_settled = destination.is_some() || self.settings.destination_may_change;
        let holder = hello.holder.clone();
        if let Some(refusal) = self.refusal(&holder, &group_id, destination.as_ref()) {
            // It may have given up waiting.
            drop(opened.send(Err(refusal)));
            return Ok(());
        }
        tracing::info!(agent = %holder.agent, "agent connected");
        let known = self.core.view().agents.get(&holder.agent);
        let former = known.map(|agent| agent.process_of(holder.agent.clone()));
        let former = former.filter(|former| *former != holder);
        if let Err(error) = self.store.grant(&holder, former.as_ref()).await {
            // The agent asks again.
            tracing::warn!(agent = %holder.agent, error = %chain(&error), "the agent gets no lease");
            return Ok(());
        }
        // That may have taken longer than the term lasted.
        self.check()?;
        if let Some(former) = former {
            tracing::info!(agent = %holder.agent, "a newer process takes over the agent's id");
            self.replaced.push_back(former.clone());
            while self.replaced.len() > REPLACED_MAX {
                self.replaced.pop_front();
            }
            // Whether or not the newer one still waits for its own.
            self.drop_session(&former);
            self.step(Event::LeaseEnded(former)).await?;
        }
        self.known.agents_seen = true;
        self.learn(&holder, destination).await?;
        self.last_session += 1;
        let number = self.last_session;
        let store_id = self.core.view().meta.store_id.clone();
        if opened.send(Ok(Opened { store_id, session: number })).is_ok() {
            // Its former session may not have ended yet: what was asked there is not answered here.
            self.queries.lose(&holder);
            let session = Session { number, holder: holder.clone(), outbox };
            self.sessions.insert(holder.agent.clone(), session);
            if !hello.is_settled {
                self.unsettled.insert(holder.clone());
            }
            self.step(Event::Hello(Box::new(hello))).await?;
        }
        Ok(())
    }

    /// Why an agent that copies elsewhere may not take part; the first one says where the fleet copies to.
    fn foreign(&self, destination: &Destination) -> Option<String> {
        let fleets = self.core.view().meta.destination.as_ref().filter(|fleets| *fleets != destination)?;
        if self.settings.destination_may_change {
            return None;
        }
        let Destination { cluster_id, offset_storage_topic } = fleets;
        Some(format!(
            "the agents of this fleet copy into cluster {cluster_id} and keep positions in {offset_storage_topic}, and this \
             one is set to cluster {} and {}: correct its bootstrap.servers and offset.storage.topic, or give it another \
             group.id",
            destination.cluster_id, destination.offset_storage_topic
        ))
    }

    async fn learn(&mut self, holder: &Holder, destination: Option<Destination>) -> Result<(), Error> {
        let Some(destination) = destination else { return Ok(()) };
        let known = &self.core.view().meta.destination;
        if known.as_ref() == Some(&destination) {
            return Ok(());
        }
        if let Some(known) = known {
            tracing::warn!(agent = %holder.agent, was = %known.cluster_id, is = %destination.cluster_id,
                "the agent's worker cluster is another one than before");
        }
        self.step(Event::Destination(destination)).await
    }
}
