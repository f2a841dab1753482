//! Scripts that tell how the core decides: what happens, and what it stores and says. `scripts/*.txt` are written by
//! this test where `UPDATE_SCRIPTS` is set, and compared otherwise.
//!
//! A line of a script is a comment (`#`), an event (`>`), or what came of the event above it:
//!
//! ```text
//! > hello AGENT INCARNATION [rack=RACK] [LABEL=VALUE…] [NAME/PART@EPOCH…]  > draining|session-ended|lease-ended AGENT
//! > create|put NAME [KEY=VALUE…]                         > pause|resume|stop|delete|restart NAME
//! > surveyed NAME SOURCE DESTINATION [TOPIC:PARTITIONS…] > reported NAME/PART STATE [TRACE…]
//! > released NAME/PART [by AGENT INCARNATION EPOCH]      > the-next-commit-is-refused
//! > tick [SECONDS]                                       > silent|heard AGENT
//! > forget|drain|undrain AGENT                                         > new-leader   > sleep SECONDS
//! ```

use std::fmt::Write as _;
use std::path::Path;

use copyist_model::LaneHeld;

use super::*;
use crate::core::view::{Connector, Write};

/// The core, a store that takes its commits, and what came of the last event.
struct Stage {
    core: Core,
    revision: u64,
    now: Now,
    tickets: u64,
    refuse_next: bool,
    silent: BTreeSet<String>,
    told: String,
}

impl Stage {
    fn new() -> Self {
        let (now, told) = (Now::default(), String::new());
        Self {
            core: Core::new(View::default(), PATIENCE),
            revision: 0,
            now,
            tickets: 0,
            refuse_next: false,
            silent: BTreeSet::new(),
            told,
        }
    }

    /// Plays one event line.
    fn play(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        match (verb, &words[..]) {
            ("new-leader", []) => self.core = Core::new(self.core.view().clone(), PATIENCE),
            ("the-next-commit-is-refused", []) => self.refuse_next = true,
            ("sleep", [seconds]) => self.sleep(seconds.parse().unwrap()),
            ("silent", [agent]) => drop(self.silent.insert((*agent).to_owned())),
            ("heard", [agent]) => drop(self.silent.remove(*agent)),
            ("tick", []) => self.feed(Event::Tick),
            ("tick", [seconds]) => (0..4 * seconds.parse::<u64>().unwrap()).for_each(|_| self.quarter()),
            _ => {
                let event = self.event(verb, &words);
                self.feed(event.unwrap_or_else(|| panic!("not an event: {line}")));
            }
        }
    }

    fn event(&mut self, verb: &str, words: &[&str]) -> Option<Event> {
        Some(match (verb, words) {
            ("hello", [agent, incarnation, rest @ ..]) => {
                let (running, rest): (Vec<_>, Vec<_>) = rest.iter().partition(|word| word.contains('@'));
                let mut labels = pairs(&rest)?;
                let rack = labels.remove("rack").unwrap_or_default();
                let (holder, store_id) = (holder(agent, incarnation), String::new());
                let running = running.iter().map(|word| {
                    let (id, epoch) = word.split_once('@')?;
                    Some((part(id)?, epoch_of(epoch)?))
                });
                let running = running.collect::<Option<_>>()?;
                Event::Hello(Box::new(Hello { holder, rack, labels, running, store_id, is_settled: true }))
            }
            ("draining", [agent]) => Event::Draining(self.living(agent)?),
            ("session-ended", [agent]) => Event::SessionEnded(self.living(agent)?),
            ("lease-ended", [agent]) => Event::LeaseEnded(self.living(agent)?),
            ("surveyed", [name, source, destination, topics @ ..]) => {
                self.surveyed(name, source, destination, topics)?
            }
            ("reported", [id, state, trace @ ..]) => {
                let id = part(id)?;
                let state = InstanceState::ALL.into_iter().find(|it| it.as_str() == *state)?;
                let Assignment { holder, epoch, .. } = self.core.view.assignments.get(&id)?.clone();
                Event::Reported { holder, id, epoch, state, trace: trace.join(" ") }
            }
            ("released", [id]) => {
                let id = part(id)?;
                let Assignment { holder, epoch, .. } = self.core.view.assignments.get(&id)?.clone();
                Event::Released { holder, id, epoch }
            }
            ("released", [id, "by", agent, incarnation, epoch]) => {
                let (holder, epoch) = (holder(agent, incarnation), epoch_of(epoch)?);
                Event::Released { holder, id: part(id)?, epoch }
            }
            _ => {
                let command = self.command(verb, words)?;
                self.tickets += 1;
                Event::Command(Ticket(self.tickets), command)
            }
        })
    }

    fn command(&self, verb: &str, words: &[&str]) -> Option<Command> {
        let (name, rest) = words.split_first()?;
        let request = String::new();
        Some(match verb {
            "create" => {
                let config = given(rest)?;
                Command::Create { request, name: (*name).to_owned(), config, initial: TargetState::Running }
            }
            "put" => Command::PutConfig { request, name: connector(name), config: given(rest)? },
            "pause" => target(name, TargetState::Paused),
            "resume" => target(name, TargetState::Running),
            "stop" => target(name, TargetState::Stopped),
            "delete" => delete(name),
            "forget" => Command::ForgetAgent { agent: name.parse().ok()? },
            "drain" => Command::DrainAgent { agent: name.parse().ok()?, drained: true },
            "undrain" => Command::DrainAgent { agent: name.parse().ok()?, drained: false },
            "restart" => Command::Restart { name: connector(name), include_tasks: true, only_failed: false },
            _ => return None,
        })
    }

    fn living(&self, agent: &str) -> Option<Holder> {
        let living = self.core.view.agents.get(&agent.parse::<AgentId>().ok()?)?;
        Some(holder(agent, &living.incarnation))
    }

    fn surveyed(&self, name: &str, source: &str, destination: &str, topics: &[&str]) -> Option<Event> {
        let connector = connector(name);
        let Assignment { holder, epoch, .. } =
            self.core.view.assignments.get(&AssignmentId::survey(&connector))?.clone();
        let topic = |text: &&str| {
            let (topic, partitions) = text.split_once(':')?;
            Some(FoundTopic {
                source: topic.parse().ok()?,
                destination: format!("{topic}.copy").parse().ok()?,
                partitions: partitions.parse().ok()?,
                literal: false,
            })
        };
        let findings = Findings {
            generation: self.core.view.connectors.get(&connector)?.generation,
            source: source.parse().ok()?,
            destination: destination.parse().ok()?,
            topics: topics.iter().map(topic).collect::<Option<_>>()?,
        };
        Some(Event::Surveyed { holder, connector, epoch, findings })
    }

    fn sleep(&mut self, seconds: u64) {
        let Now { boot_ms, wall_ms } = self.now;
        self.now = Now { boot_ms: boot_ms + seconds * 1_000, wall_ms: wall_ms + seconds * 1_000 };
    }

    /// A quarter of a second, in which who is connected and not silent says that it is there.
    fn quarter(&mut self) {
        self.now = Now { boot_ms: self.now.boot_ms + 250, wall_ms: self.now.wall_ms + 250 };
        let connected = self.core.sessions.values().map(|session| session.holder.clone());
        let heard: Vec<Holder> = connected.filter(|it| !self.silent.contains(it.agent.as_str())).collect();
        heard.into_iter().for_each(|holder| self.feed(Event::Heartbeat(holder)));
        self.feed(Event::Tick);
    }

    /// Performs what is decided as the driver does: stores, then tells, then reports the commit.
    fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for commit in self.core.step(self.now, event).commits {
                if !commit.writes.is_empty() {
                    if std::mem::take(&mut self.refuse_next) {
                        self.tell("refused", "");
                        events.push_back(Event::Refused);
                        break;
                    }
                    self.revision += 1;
                    commit
                        .writes
                        .iter()
                        .for_each(|write| self.tell(&format!("store {}", self.revision), &stored(write)));
                    events.push_back(Event::Committed(StoreRevision(self.revision)));
                }
                for send in &commit.sends {
                    let (to, what) = said(send);
                    self.tell(&to, &what);
                }
            }
        }
    }

    fn tell(&mut self, who: &str, what: &str) {
        let line = format!("  {who:<10} {what}");
        writeln!(self.told, "{}", line.trim_end()).unwrap();
    }
}

fn part(text: &str) -> Option<AssignmentId> {
    let (name, part) = text.split_once('/')?;
    Some(match part {
        "survey" => AssignmentId::survey(&connector(name)),
        number => AssignmentId::task(&connector(name), number.parse().ok()?),
    })
}

fn epoch_of(text: &str) -> Option<AssignmentEpoch> {
    let (store, revision) = text.split_once('.')?;
    let revision = StoreRevision(revision.parse().ok()?);
    Some(AssignmentEpoch { incarnation: store.parse().ok()?, revision })
}

fn pairs(words: &[&str]) -> Option<BTreeMap<String, String>> {
    let pair = |word: &&str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    words.iter().map(pair).collect()
}

fn given(words: &[&str]) -> Option<GivenConfig> {
    let pairs = pairs(words)?;
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Some(config(&pairs))
}

fn stored(write: &Write) -> String {
    match write {
        Write::Meta(meta) => format!("meta: incarnation {}", meta.incarnation),
        Write::Connector(name, Some(connector)) => format!("connector {name}: {}", described(connector)),
        Write::Connector(name, None) => format!("connector {name}: gone"),
        Write::Request(id, kept) => format!("request {id}: {}", if kept.is_some() { "kept" } else { "gone" }),
        Write::Task(id, Some(task)) => {
            let revision = task.revision.0;
            format!("task {id}: revision {revision}, {}", lanes(&task.lanes))
        }
        Write::Task(id, None) => format!("task {id}: gone"),
        Write::Lane(id, Some(LaneHeld::Record(record))) => {
            format!("lane {id}: generation {}", record.generation.0)
        }
        Write::Lane(id, Some(LaneHeld::Altered(generation))) => {
            format!("lane {id}: generation {} is over", generation.0)
        }
        Write::Lane(id, None) => format!("lane {id}: gone"),
        Write::TopicMarks(name, Some(marks)) => format!("topics of {name}: {} marks", marks.len()),
        Write::TopicMarks(name, None) => format!("topics of {name}: gone"),
        Write::Deletion(name, Some(_)) => format!("deletion of {name}"),
        Write::Deletion(name, None) => format!("deletion of {name}: gone"),
        Write::Agent(id, Some(agent)) => format!("agent {id}: {}", agent.incarnation),
        Write::Agent(id, None) => format!("agent {id}: gone"),
        Write::Assignment(id, Some(assignment)) => {
            let former =
                assignment.former.iter().map(|(holder, epoch)| format!(", after {} {epoch}", named(holder)));
            format!("assignment {id}: {}{}", named(&assignment.holder), former.collect::<String>())
        }
        Write::Assignment(id, None) => format!("assignment {id}: gone"),
        Write::Released(id, holdings) if holdings.is_empty() => format!("releases of {id}: gone"),
        Write::Released(id, holdings) => {
            let by = holdings.iter().map(|(holder, epoch)| format!(" {} {epoch}", named(holder)));
            format!("releases of {id}:{}", by.collect::<String>())
        }
        Write::Status(id, Some(status)) => {
            let agent = status.agent.as_ref().map(|agent| format!(" on {agent}")).unwrap_or_default();
            let trace = status.trace.lines().next().map(|line| format!(", {line}")).unwrap_or_default();
            format!("status {id}: {}{agent}{trace}", status.state.as_str())
        }
        Write::Status(id, None) => format!("status {id}: gone"),
    }
}

fn described(connector: &Connector) -> String {
    let mut text = format!(
        "{}, generation {}, revision {}",
        connector.target.as_str(),
        connector.generation.0,
        connector.revision.0
    );
    if !connector.tasks_are_current() {
        write!(text, ", tasks of generation {}", connector.tasks_generation.0).unwrap();
    }
    for (is, word) in [(connector.surveyed, ", surveyed"), (connector.deleting, ", to be deleted")] {
        text.push_str(if is { word } else { "" });
    }
    text
}

fn lanes(lanes: &copyist_model::TaskLanes) -> String {
    let names = lanes.iter().map(|(topic, partition, _, _)| format!("{topic}-{partition}"));
    let names: Vec<String> = names.collect();
    format!("lanes {}", names.join(" "))
}

fn named(holder: &Holder) -> String {
    format!("{} ({})", holder.agent, holder.incarnation)
}

/// To whom, and what.
fn said(send: &Send) -> (String, String) {
    match send {
        Send::Reply(ticket, Ok(Answer::Done)) => (format!("reply {}", ticket.0), "done".to_owned()),
        Send::Reply(ticket, Ok(Answer::Altered(told))) => (format!("reply {}", ticket.0), told.clone()),
        Send::Reply(ticket, Ok(Answer::Info { created, info })) => {
            let done = if *created { "created" } else { "changed" };
            (format!("reply {}", ticket.0), format!("{done} {}, tasks {:?}", info.name, info.tasks))
        }
        Send::Reply(ticket, Ok(Answer::Status(status))) => {
            (format!("reply {}", ticket.0), format!("{} is {}", status.name, status.connector.state.as_str()))
        }
        Send::Reply(ticket, Err(failure)) => (format!("reply {}", ticket.0), format!("failed: {failure}")),
        Send::Statement(holder, statement) => (format!("tell {}", holder.agent), states(statement)),
    }
}

fn states(statement: &Statement) -> String {
    match statement {
        Statement::Run(run) => {
            let mut text = format!("run {} epoch {} revision {}", run.id, run.epoch, run.revision.0);
            if !run.lanes.is_empty() {
                write!(text, ", {}", lanes(&run.lanes)).unwrap();
            }
            let former = (run.follows_unreleased, ", a former holder may still write");
            for (is, words) in [(run.paused, ", paused"), former] {
                text.push_str(if is { words } else { "" });
            }
            text
        }
        Statement::Release { id, epoch } => format!("release {id} epoch {epoch}"),
        Statement::SetComplete => "that is all".to_owned(),
        Statement::Verdict(verdict) => format!("verdict on {}: {:?}", verdict.lane, verdict.refusal),
    }
}

/// The script with what comes of each event now.
fn played(script: &str) -> String {
    let mut stage = Stage::new();
    let mut text = String::new();
    for line in script.lines().filter(|line| !line.starts_with(' ')) {
        writeln!(text, "{line}").unwrap();
        if let Some(event) = line.strip_prefix("> ") {
            stage.play(event);
            text.push_str(&std::mem::take(&mut stage.told));
        }
    }
    text
}

#[test]
fn scripts_tell_how_it_decides() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let now = played(&script);
        count += 1;
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, now).unwrap();
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert_eq!(
                now, script,
                "{name}: if that is meant, set UPDATE_SCRIPTS=1, and read the difference"
            );
        }
    }
    assert_eq!(count, 8);
}
