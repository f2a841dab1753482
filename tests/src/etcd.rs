//! A real etcd on this machine: one member or several, each a process that can be killed, stopped and started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cache::{cache_dir, remove};
use crate::certificates::Certificates;
use crate::error::{Error, Result};
use crate::ports::free_port;
use crate::process::{Lifetime, Process, Spec, find_program};
use crate::progress::Progress;
use crate::scratch::Scratch;

const START_LIMIT: Duration = Duration::from_secs(60);
const TOOL_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Another process may take a port between our choice and a member's start.
const PORT_TRIES: u32 = 5;
/// Who may do everything once there are users.
const ROOT: &str = "root:root";

#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// How messages call it, and part of its directory's name.
    pub name: String,
    /// At least one.
    pub members: usize,
    /// Clients use TLS and must show a certificate.
    pub tls: bool,
    /// More flags for each member: `--quota-backend-bytes=…`.
    pub flags: Vec<String>,
    /// Data and logs; stays when etcd is dropped. `None`: a [`Scratch`], which does not.
    pub dir: Option<PathBuf>,
    pub lifetime: Lifetime,
    pub progress: Progress,
}

impl EtcdOptions {
    /// One member without TLS.
    #[must_use]
    pub fn named(name: &str) -> EtcdOptions {
        EtcdOptions {
            name: name.to_owned(),
            members: 1,
            tls: false,
            flags: Vec::new(),
            dir: None,
            lifetime: Lifetime::default(),
            progress: Progress::default(),
        }
    }
}

/// An etcd; dropped, it is killed, and its data removed unless [`EtcdOptions::dir`] was given.
#[derive(Debug)]
pub struct Etcd {
    options: EtcdOptions,
    members: Vec<Member>,
    certificates: Option<Certificates>,
    has_users: bool,
    dir: PathBuf,
    _scratch: Option<Scratch>,
}

#[derive(Debug)]
struct Member {
    name: String,
    what: String,
    client: u16,
    peer: u16,
    /// Plain HTTP, also where clients use TLS.
    health: u16,
    dir: PathBuf,
    process: Option<Process>,
}

impl Etcd {
    /// Starts the members and waits until each serves.
    ///
    /// # Errors
    /// When a program is missing, or a member does not serve.
    pub fn start(options: EtcdOptions) -> Result<Etcd> {
        let scratch = match &options.dir {
            Some(_) => None,
            None => Some(Scratch::new(&options.name)?),
        };
        let kept = options.dir.as_deref();
        let dir = kept.or(scratch.as_ref().map(Scratch::path)).unwrap_or(Path::new(".")).to_owned();
        let certificates = options.tls.then(|| Certificates::make(&dir.join("certificates"))).transpose()?;
        let mut etcd =
            Etcd { options, members: Vec::new(), certificates, has_users: false, dir, _scratch: scratch };
        let mut tries = 1;
        loop {
            etcd.plan()?;
            match etcd.launch() {
                Err(error) if tries < PORT_TRIES && etcd.port_was_taken() => {
                    etcd.options.progress.say(format_args!("  {error}; trying other ports"));
                    tries += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(etcd),
            }
        }
    }

    fn plan(&mut self) -> Result<()> {
        self.members.clear();
        for number in 1..=self.options.members {
            let name = format!("member-{number}");
            let dir = self.dir.join(&name);
            remove(&dir.join("data"))?;
            fs::create_dir_all(&dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
            let what = format!("etcd {name} of {}", self.options.name);
            let (client, peer, health) = (free_port()?, free_port()?, free_port()?);
            self.members.push(Member { name, what, client, peer, health, dir, process: None });
        }
        Ok(())
    }

    /// Starts the members that do not run, and waits until all serve.
    fn launch(&mut self) -> Result<()> {
        for at in 0..self.members.len() {
            self.spawn(at)?;
        }
        (0..self.members.len()).try_for_each(|at| self.wait(at))
    }

    fn spawn(&mut self, at: usize) -> Result<()> {
        let spec = self.spec(at)?;
        let member = self.member(at)?;
        if member.process.is_none() {
            member.process = Some(Process::spawn(&spec)?);
        }
        Ok(())
    }

    fn spec(&mut self, at: usize) -> Result<Spec> {
        let cluster = self.initial_cluster();
        let (certificates, flags) = (self.certificates.clone(), self.options.flags.clone());
        let lifetime = self.options.lifetime;
        let scheme = self.scheme();
        let member = self.member(at)?;
        let client = format!("{scheme}://127.0.0.1:{}", member.client);
        let health = format!("http://127.0.0.1:{}", member.health);
        let program = program("etcd", "etcd-server")?;
        let mut spec = Spec::new(&member.what, program, member.dir.join("etcd.log"))
            .args(["--name", &member.name, "--logger", "zap", "--data-dir"])
            .arg(member.dir.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args([
                "--listen-peer-urls",
                &member.peer_url(),
                "--initial-advertise-peer-urls",
                &member.peer_url(),
            ])
            .args(["--listen-metrics-urls", &health, "--initial-cluster", &cluster])
            .args(flags);
        if let Some(made) = certificates {
            spec = spec.arg("--client-cert-auth").arg("--trusted-ca-file").arg(made.file("ca.pem"));
            spec = spec.arg("--cert-file").arg(made.file("server.pem"));
            spec = spec.arg("--key-file").arg(made.file("server.key"));
        }
        // A user's settings are not ours.
        spec.environment.insert("ETCDCTL_ENDPOINTS".into(), None);
        spec.lifetime = lifetime;
        Ok(spec)
    }

    fn wait(&mut self, at: usize) -> Result<()> {
        self.wait_for(at, "\"true\"")
    }

    fn wait_for(&mut self, at: usize, answer_has: &str) -> Result<()> {
        let progress = self.options.progress;
        let member = self.member(at)?;
        let (what, url) =
            (format!("{} to serve", member.what), format!("http://127.0.0.1:{}/health", member.health));
        let Some(process) = &mut member.process else { return Ok(()) };
        process.wait_for(&what, START_LIMIT, progress, || {
            let answer = reqwest::blocking::get(&url).and_then(reqwest::blocking::Response::text);
            Ok(answer.ok().filter(|text| text.contains(answer_has)).map(|_| ()))
        })
    }

    fn member(&mut self, at: usize) -> Result<&mut Member> {
        let name = &self.options.name;
        self.members.get_mut(at).ok_or_else(|| Error::Invalid(format!("{name} has no member {at}")))
    }

    fn initial_cluster(&self) -> String {
        let members = self.members.iter().map(|member| format!("{}={}", member.name, member.peer_url()));
        members.collect::<Vec<_>>().join(",")
    }

    fn scheme(&self) -> &'static str {
        if self.options.tls { "https" } else { "http" }
    }

    fn port_was_taken(&self) -> bool {
        let logs = self.members.iter().filter_map(|member| member.process.as_ref());
        logs.flat_map(Process::log_text).any(|text| text.contains("address already in use"))
    }

    /// `http://host:port`, or `https`, of each member.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let ports = self.members.iter().map(|member| member.client);
        ports.map(|port| format!("{}://127.0.0.1:{port}", self.scheme())).collect()
    }

    /// For `openssl`-made certificates, where [`EtcdOptions::tls`] was asked.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The port that clients of a member use.
    #[must_use]
    pub fn port(&self, member: usize) -> Option<u16> {
        self.members.get(member).map(|member| member.client)
    }

    /// The members, by their place, from the one that leads etcd on.
    ///
    /// # Errors
    /// When no member answers.
    pub fn leader_first(&self) -> Result<Vec<usize>> {
        let status = self.etcdctl(&["endpoint", "status", "--write-out=simple"])?;
        let leads = |line: &str| line.split(", ").nth(4) == Some("true");
        let first = status.lines().position(leads);
        let first = first.ok_or_else(|| Error::Invalid(format!("nobody leads etcd: {status}")))?;
        Ok((0..self.members.len()).map(|at| (first + at) % self.members.len()).collect())
    }

    /// `kill -9`; the data stays.
    ///
    /// # Errors
    /// When there is no such member; so with the others.
    pub fn kill_9(&mut self, member: usize) -> Result<()> {
        self.member(member)?.process = None;
        Ok(())
    }

    /// SIGSTOP: it takes connections, and says nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self, member: usize) -> Result<()> {
        self.signal(member, Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&mut self, member: usize) -> Result<()> {
        self.signal(member, Signal::SIGCONT)
    }

    fn signal(&mut self, member: usize, signal: Signal) -> Result<()> {
        let member = self.member(member)?;
        let process = member.process.as_ref();
        let process = process.ok_or_else(|| Error::Invalid(format!("{} does not run", member.what)))?;
        process.signal(signal);
        Ok(())
    }

    /// SIGTERM to all.
    ///
    /// # Errors
    /// When one does not end.
    pub fn stop(&mut self) -> Result<()> {
        let processes = self.members.iter_mut().filter_map(|member| member.process.take());
        let ends: Vec<Result<_>> = processes.map(|mut process| process.stop(STOP_GRACE)).collect();
        ends.into_iter().try_for_each(|end| end.map(|_status| ()))
    }

    /// Starts what does not run, on the same ports and data, and waits until all serve.
    ///
    /// # Errors
    /// When one does not serve.
    pub fn restart(&mut self) -> Result<()> {
        self.launch()
    }

    /// As [`Etcd::restart`], where an alarm makes the members call themselves unhealthy: waits only until they answer.
    ///
    /// # Errors
    /// When one does not answer.
    pub fn restart_with_alarm(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|at| self.spawn(at))?;
        (0..self.members.len()).try_for_each(|at| self.wait_for(at, "health"))
    }

    /// More flags, or others, from the next start on.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.options.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Kills all, and starts them with nothing stored.
    ///
    /// # Errors
    /// When one does not serve.
    pub fn wipe(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.process = None;
            remove(&member.dir.join("data"))?;
        }
        self.launch()
    }

    /// Writes a copy of what is stored.
    ///
    /// # Errors
    /// When etcdctl fails.
    pub fn save(&self) -> Result<PathBuf> {
        let file = self.dir.join("snapshot");
        self.etcdctl_to(&self.endpoints()[..1], &["snapshot", "save", &file.display().to_string()])?;
        Ok(file)
    }

    /// Kills all, and starts them with what a copy holds.
    ///
    /// # Errors
    /// When etcdctl fails, or a member does not serve.
    pub fn restore(&mut self, file: &Path) -> Result<()> {
        let cluster = self.initial_cluster();
        self.members.iter_mut().for_each(|member| member.process = None);
        for member in &self.members {
            let data = member.dir.join("data");
            remove(&data)?;
            let (file, data) = (file.display().to_string(), data.display().to_string());
            let of = ["--name", &member.name, "--initial-advertise-peer-urls", &member.peer_url()]
                .map(str::to_owned);
            let args = ["snapshot", "restore", &file, "--data-dir", &data, "--initial-cluster", &cluster];
            let args: Vec<&str> = args.into_iter().chain(of.iter().map(String::as_str)).collect();
            self.etcdctl_to(&[], &args)?;
        }
        self.launch()
    }

    /// From now on there are users: root, and this one, who may read and write what begins with `prefix`.
    ///
    /// # Errors
    /// When etcdctl fails.
    pub fn enable_users(&mut self, name: &str, password: &str, prefix: &str) -> Result<()> {
        self.etcdctl(&["user", "add", ROOT])?;
        self.etcdctl(&["user", "grant-role", "root", "root"])?;
        self.etcdctl(&["user", "add", &format!("{name}:{password}")])?;
        self.etcdctl(&["role", "add", name])?;
        self.etcdctl(&["role", "grant-permission", "--prefix=true", name, "readwrite", prefix])?;
        self.etcdctl(&["user", "grant-role", name, name])?;
        self.etcdctl(&["auth", "enable"])?;
        self.has_users = true;
        Ok(())
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// When etcdctl fails.
    pub fn set_password(&self, name: &str, password: &str) -> Result<()> {
        // It reads the password from standard input, which processes of ours do not have.
        self.etcdctl(&["user", "delete", name])?;
        self.etcdctl(&["user", "add", &format!("{name}:{password}")])?;
        self.etcdctl(&["user", "grant-role", name, name]).map(drop)
    }

    /// Runs etcdctl on all members; what it prints.
    ///
    /// # Errors
    /// When it fails, with what it printed.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        self.etcdctl_to(&self.endpoints(), args)
    }

    fn etcdctl_to(&self, endpoints: &[String], args: &[&str]) -> Result<String> {
        let program = program("etcdctl", "etcd-client")?;
        let mut spec =
            Spec::new(format!("etcdctl {}", args.join(" ")), program, self.dir.join("etcdctl.log"));
        spec.environment.insert("ETCDCTL_API".into(), Some("3".into()));
        spec = spec.args(args);
        if !endpoints.is_empty() {
            spec = spec.args(["--command-timeout", "20s", "--endpoints", &endpoints.join(",")]);
        }
        if let Some(made) = self.certificates.as_ref().filter(|_| !endpoints.is_empty()) {
            spec = spec.arg("--cacert").arg(made.file("ca.pem")).arg("--cert").arg(made.file("client.pem"));
            spec = spec.arg("--key").arg(made.file("client.key"));
        }
        if self.has_users && !endpoints.is_empty() {
            spec = spec.args(["--user", ROOT]);
        }
        let mut process = Process::spawn(&spec)?;
        let status = process.wait_exit(TOOL_LIMIT, self.options.progress);
        process.ended_well(status)?;
        process.log_text()
    }

    /// The sum of a member's metrics whose line begins like this: `grpc_server_handled_total{grpc_code="OK"`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metric(&self, member: usize, begins: &str) -> Result<f64> {
        let member = self.members.get(member);
        let port = member.ok_or_else(|| Error::Invalid("no such member".to_owned()))?.health;
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = reqwest::blocking::get(&url).and_then(reqwest::blocking::Response::text);
        let text = text.map_err(|source| Error::Rest { what: format!("read {url}"), source })?;
        let lines = text.lines().filter(|line| line.starts_with(begins));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Gives the members up, for [`Lifetime::MayOutliveUs`] and with a directory of their own; returns their pids.
    #[must_use]
    pub fn leave_running(mut self) -> Vec<u32> {
        let processes = self.members.iter_mut().filter_map(|member| member.process.take());
        processes.map(Process::leave_running).collect()
    }
}

impl Member {
    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }
}

/// On `PATH`, or where `tests/run` puts it: Debian's package would start a server.
fn program(name: &str, package: &str) -> Result<PathBuf> {
    let cached = cache_dir()?.join("bin").join(name);
    match find_program(name, "to run etcd", package) {
        Err(_) if cached.is_file() => Ok(cached),
        found => found,
    }
}
