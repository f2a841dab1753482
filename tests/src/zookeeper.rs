//! The ZooKeeper that brokers before KRaft need: one node, with the jar that comes with them.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::ports::free_port;
use crate::process::{Lifetime, Process};
use crate::progress::Progress;
use crate::wait::{Deadline, wait_until};

const START_LIMIT: Duration = Duration::from_secs(60);
/// A session lasts between two and twenty ticks.
const TICK_MS: &str = "500";
/// Of a broker.
pub(crate) const SESSION_MS: &str = "2000";
/// A session's end is seen by the tick, some time after it came.
const SESSION_IS_OVER: Duration = Duration::from_millis(3_500);

#[derive(Debug)]
pub(crate) struct ZooKeeper {
    pub port: u16,
    process: Process,
}

impl ZooKeeper {
    /// Its data lies in `dir`, so that it goes on there.
    pub fn start(jars: &Jars, dir: &Path, lifetime: Lifetime, progress: Progress) -> Result<ZooKeeper> {
        fs::create_dir_all(dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
        let port = free_port()?;
        let flags = [
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dcopyist.log.level=WARN",
            "-Dzookeeper.admin.enableServer=false",
        ];
        let class = "org.apache.zookeeper.server.ZooKeeperServerMain";
        let log = dir.join("zookeeper.log");
        let spec = jars.java_with("ZooKeeper", &flags.map(str::to_owned), &jars.class_path(), class, &log)?;
        let mut spec = spec.arg(port.to_string()).arg(dir.join("zookeeper")).arg(TICK_MS);
        spec.lifetime = lifetime;
        let mut process = Process::spawn(&spec)?;
        process.wait_for("ZooKeeper to serve", START_LIMIT, progress, || {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(|_| ()))
        })?;
        Ok(ZooKeeper { port, process })
    }

    /// Waits until it has forgotten brokers that were killed: it lets no other take their names before.
    pub fn wait_sessions_over(progress: Progress) -> Result<()> {
        let over = Deadline::after(SESSION_IS_OVER);
        let poll = || Ok(over.passed().then_some(()));
        wait_until("the end of ZooKeeper's sessions", 2 * SESSION_IS_OVER, progress, poll)
    }

    pub fn leave_running(self) -> u32 {
        self.process.leave_running()
    }
}
