//! What a cluster's ZooKeeper says of it: where its living brokers are, and how it is called.
//!
//! A session lasts for one question. Pure: [`frame`] (the protocol's bytes), [`brokers`] (what the nodes mean).

pub mod brokers;
pub mod frame;

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_model::ZooKeeper;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use brokers::Broker;
use frame::Refusal;

/// For a whole question, whatever the user's timeouts say.
const ASK_DEADLINE: Duration = Duration::from_secs(30);

const IDS: &str = "/brokers/ids";
const CLUSTER_ID: &str = "/cluster/id";

/// What a ZooKeeper says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Brokers before Kafka 0.10.1 had none.
    pub cluster: Option<String>,
    /// By id; at least one.
    pub brokers: BTreeMap<i32, Broker>,
}

/// Why there is no answer: the text names servers, path and reason. It may pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Unanswered {
    text: String,
    /// No server answers at all. Else they say that there is no broker.
    pub is_silent: bool,
}

impl Unanswered {
    fn silent(text: String) -> Self {
        Self { text, is_silent: true }
    }

    fn none(text: String) -> Self {
        Self { text, is_silent: false }
    }
}

/// Asks the servers, one after the other, from one of chance on, until one answers.
///
/// # Errors
/// No server answers, or it knows of no broker.
pub async fn ask(zookeeper: &ZooKeeper) -> Result<Told, Unanswered> {
    let told = timeout(ASK_DEADLINE, ask_in_turn(zookeeper, rand::random()));
    let late = |_| {
        Unanswered::silent(format!("ZooKeeper {zookeeper}: no answer within {} s", ASK_DEADLINE.as_secs()))
    };
    told.await.map_err(late)?
}

async fn ask_in_turn(zookeeper: &ZooKeeper, chance: u16) -> Result<Told, Unanswered> {
    let mut servers = zookeeper.servers.clone();
    let first = usize::from(chance) % servers.len().max(1);
    servers.rotate_left(first);
    let mut silent = Vec::new();
    for server in servers {
        let mut session = match Session::open(&server, zookeeper).await {
            Ok(session) => session,
            Err(why) => {
                silent.push(format!("{server}: {why}"));
                continue;
            }
        };
        let told = session.tell(zookeeper).await;
        session.close().await;
        match told {
            Err(why) if why.is_empty_handed => silent.push(format!("{server}: {}", why.text)),
            told => {
                return told.map_err(|why| Unanswered::none(format!("ZooKeeper {zookeeper}: {}", why.text)));
            }
        }
    }
    Err(Unanswered::silent(format!("ZooKeeper {zookeeper} does not answer ({})", silent.join("; "))))
}

/// Why a server says nothing.
struct Silence {
    text: String,
    /// Another server may answer.
    is_empty_handed: bool,
}

impl Silence {
    fn lost(text: String) -> Self {
        Self { text, is_empty_handed: true }
    }

    fn about(path: &str, refusal: &Refusal) -> Self {
        let is_empty_handed = matches!(refusal, Refusal::Malformed | Refusal::Other(_));
        Self { text: format!("{path}: {refusal}"), is_empty_handed }
    }
}

struct Session {
    stream: TcpStream,
    /// For one answer.
    patience: Duration,
    xid: i32,
}

impl Session {
    async fn open(server: &str, zookeeper: &ZooKeeper) -> Result<Self, String> {
        let (within, patience) = (zookeeper.connection_timeout, zookeeper.session_timeout);
        let late = |_| format!("no connection within {} ms", within.as_millis());
        let stream = timeout(within, TcpStream::connect(server)).await.map_err(late)?;
        let mut session = Self { stream: stream.map_err(|error| error.to_string())?, patience, xid: 0 };
        let timeout_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        let answer = session.call(&frame::connect(timeout_ms)).await?;
        frame::connected(&answer).map_err(|refusal| refusal.to_string())?;
        Ok(session)
    }

    /// The next answer is that to this request: nobody else asks.
    async fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let exchange = async {
            self.stream.write_all(request).await.map_err(broken)?;
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.map_err(broken)?;
            let length = frame::length(length).map_err(|refusal| refusal.to_string())?;
            let mut answer = vec![0; length];
            self.stream.read_exact(&mut answer).await.map_err(broken)?;
            Ok(answer)
        };
        let within = self.patience;
        let late = |_| format!("no answer within {} ms", within.as_millis());
        timeout(within, exchange).await.map_err(late)?
    }

    async fn children(&mut self, path: &str) -> Result<Vec<String>, Silence> {
        self.xid += 1;
        let answer = self.call(&frame::get_children(self.xid, path)).await.map_err(Silence::lost)?;
        frame::children(&answer, self.xid).map_err(|refusal| Silence::about(path, &refusal))
    }

    /// Nothing: there is no such node.
    async fn data(&mut self, path: &str) -> Result<Option<Vec<u8>>, Silence> {
        self.xid += 1;
        let answer = self.call(&frame::get_data(self.xid, path)).await.map_err(Silence::lost)?;
        match frame::data(&answer, self.xid) {
            Ok(data) => Ok(Some(data)),
            Err(Refusal::NoNode) => Ok(None),
            Err(refusal) => Err(Silence::about(path, &refusal)),
        }
    }

    async fn tell(&mut self, zookeeper: &ZooKeeper) -> Result<Told, Silence> {
        let ids = format!("{}{IDS}", zookeeper.chroot);
        let mut brokers = BTreeMap::new();
        for id in self.children(&ids).await? {
            // It may have gone meanwhile.
            let node = self.data(&format!("{ids}/{id}")).await?;
            let broker = node.as_deref().and_then(Broker::read);
            brokers.extend(broker.and_then(|broker| Some((id.parse().ok()?, broker))));
        }
        if brokers.is_empty() {
            let text = format!("{ids} names no living broker");
            return Err(Silence { text, is_empty_handed: false });
        }
        let id = self.data(&format!("{}{CLUSTER_ID}", zookeeper.chroot)).await?;
        Ok(Told { cluster: id.as_deref().and_then(brokers::cluster_id), brokers })
    }

    /// A session that is not closed is kept by the server until it times out: no harm, so no complaint.
    async fn close(mut self) {
        let _ = self.call(&frame::close(self.xid + 1)).await;
    }
}

fn broken(error: std::io::Error) -> String {
    const CLOSED: &str =
        "it closes the connection (it is not part of a quorum, or does not speak ZooKeeper's protocol)";
    if error.kind() == std::io::ErrorKind::UnexpectedEof { CLOSED.to_owned() } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Somebody who listens, and answers with these bytes to whatever is said; none: keeps silent.
    async fn stranger(answer: Option<&'static [u8]>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut said = [0; 49];
                match answer {
                    Some(answer) => {
                        let _ = stream.read_exact(&mut said).await;
                        let _ = stream.write_all(answer).await;
                    }
                    None => silent.push(stream),
                }
            }
        });
        address
    }

    fn zookeeper(servers: &[&str]) -> ZooKeeper {
        let patience = Duration::from_millis(200);
        ZooKeeper::parse(&format!("{}/kafka", servers.join(",")), patience, patience).unwrap()
    }

    #[tokio::test]
    async fn each_server_is_asked_and_what_is_wrong_with_it_told() {
        let (web, closing, silent) = tokio::join!(
            stranger(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            stranger(Some(b"")),
            stranger(None)
        );
        let rows = [
            (&web, "what answers there does not speak ZooKeeper's protocol"),
            (&closing, "it closes the connection (it is not part of a quorum"),
            (&silent, "no answer within 200 ms"),
        ];
        for (server, why) in rows {
            let told = ask(&zookeeper(&[server])).await.unwrap_err();
            assert!(told.is_silent, "{told}");
            let told = told.to_string();
            let beginning = format!("ZooKeeper {server}/kafka does not answer ({server}: {why}");
            assert!(told.starts_with(&beginning), "{told}");
        }
        // A session is accepted (37 bytes), and what is asked for is not there (16 bytes).
        let empty = stranger(Some(
            b"\0\0\0\x25\0\0\0\0\0\0\0\xc8\0\0\0\0\0\0\0\x01\0\0\0\x10pppppppppppppppp\0\
              \0\0\0\x10\0\0\0\x01\0\0\0\0\0\0\0\0\xff\xff\xff\x9b",
        ));
        let empty = empty.await;
        let told = ask(&zookeeper(&[&silent, &empty])).await.unwrap_err();
        assert!(
            !told.is_silent && told.text.ends_with("/kafka: /kafka/brokers/ids: there is no such path"),
            "{told}"
        );
        for first in 0..3 {
            let all = zookeeper(&[&web, &closing, &silent]);
            let told = ask_in_turn(&all, first).await.unwrap_err().to_string();
            assert!(rows.iter().all(|(server, why)| told.contains(&format!("{server}: {why}"))), "{told}");
        }
    }
}
