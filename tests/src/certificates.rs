//! Certificates for servers on this machine and their clients, made by `openssl` on the fly.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::{Process, Spec, find_program};
use crate::progress::Progress;

const LIMIT: Duration = Duration::from_secs(60);
const YEARS: i32 = 3_650;
/// It expired a day ago.
const EXPIRED: i32 = -1;
const EXTENSIONS: &str =
    "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";

/// An authority, and what it has signed: a server at 127.0.0.1 and a client. PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Makes all of them in a directory.
    ///
    /// # Errors
    /// When `openssl` is missing, or fails.
    pub fn make(dir: &Path) -> Result<Certificates> {
        fs::create_dir_all(dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
        let made = Certificates { dir: dir.to_owned() };
        let extensions = made.file("extensions");
        fs::write(&extensions, EXTENSIONS)
            .map_err(Error::io(format_args!("write {}", extensions.display())))?;
        let key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let names = ["-keyout", "ca.key", "-out", "ca.pem", "-days", "3650", "-subj", "/CN=authority"];
        made.openssl(key.iter().chain(&names))?;
        for whose in ["server", "client"] {
            made.sign(whose, YEARS)?;
        }
        Ok(made)
    }

    /// From now on the server's certificate is one that expired a day ago, or a good one again. A server reads it with
    /// each handshake.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn expire_server(&self, is_expired: bool) -> Result<()> {
        self.sign("server", if is_expired { EXPIRED } else { YEARS })
    }

    /// The same of the client's, from its next reading on.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn expire_client(&self, is_expired: bool) -> Result<()> {
        self.sign("client", if is_expired { EXPIRED } else { YEARS })
    }

    /// Of `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What is in such a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, name: &str) -> Result<String> {
        let file = self.file(name);
        fs::read_to_string(&file).map_err(Error::io(format_args!("read {}", file.display())))
    }

    fn sign(&self, whose: &str, days: i32) -> Result<()> {
        let (key, request, days) = (format!("{whose}.key"), format!("{whose}.csr"), days.to_string());
        let (subject, partial) = (format!("/CN={whose}"), format!("{whose}.partial"));
        if !self.file(&key).exists() {
            let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
            let names = ["-keyout", &key, "-out", &request, "-subj", &subject];
            self.openssl(new.iter().chain(&names))?;
        }
        let signing =
            ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        let what = ["-days", &days, "-extfile", "extensions", "-out", &partial];
        self.openssl(signing.iter().chain(&what))?;
        // A server that reads it meanwhile must find one or the other.
        let file = self.file(&format!("{whose}.pem"));
        fs::rename(self.file(&partial), &file).map_err(Error::io(format_args!("write {}", file.display())))
    }

    fn openssl<'a>(&self, args: impl Iterator<Item = &'a &'a str>) -> Result<()> {
        let program = find_program("openssl", "to make certificates", "openssl")?;
        let mut spec = Spec::new("openssl", program, self.file("openssl.log")).args(args.copied());
        spec.current_dir = Some(self.dir.clone());
        Process::run(&spec, LIMIT, Progress::Silent)
    }
}
