//! The JDK, and our own Java classes compiled once.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::{fingerprint, make_once};
use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::process::{Process, Spec, find_program};
use crate::progress::Progress;

const COMPILE_LIMIT: Duration = Duration::from_secs(120);

const SOURCES: [(&str, &str); 8] = [
    ("Admins.java", include_str!("../java/Admins.java")),
    ("Compare.java", include_str!("../java/Compare.java")),
    ("Dump.java", include_str!("../java/Dump.java")),
    ("EMRReplicatorSourceConnector.java", include_str!("../java/EMRReplicatorSourceConnector.java")),
    ("KafkaTool.java", include_str!("../java/KafkaTool.java")),
    ("Produce.java", include_str!("../java/Produce.java")),
    ("RefusingPolicy.java", include_str!("../java/RefusingPolicy.java")),
    ("Wire.java", include_str!("../java/Wire.java")),
];

/// `java` or `javac`: of `JAVA_HOME` where that is set, else of `PATH`.
pub(crate) fn java_program(name: &str) -> Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let of_home = home.map(|home| PathBuf::from(home).join("bin").join(name)).filter(|file| file.is_file());
    of_home
        .map_or_else(|| find_program(name, "to run Kafka (Java 17 or later)", "openjdk-17-jdk-headless"), Ok)
}

/// The directory of the compiled classes; instant when they were compiled before.
pub(crate) fn classes(jars: &Jars, progress: Progress) -> Result<PathBuf> {
    let class_path = jars.class_path();
    let mut parts = vec![class_path.to_str().unwrap_or_default()];
    parts.extend(SOURCES.iter().map(|(_, text)| *text));
    let dir = jars.root().join(format!("classes-{}", fingerprint(&parts)));
    make_once(&dir, progress, |partial| {
        progress.say("Compiling the Java classes");
        for (name, text) in SOURCES {
            fs::write(partial.join(name), text).map_err(Error::io(format_args!("write {name}")))?;
        }
        let log = jars.root().join("compile.log");
        let javac = Spec::new("javac", java_program("javac")?, &log);
        let javac = javac.args([
            "--release",
            "17",
            // Where no locale is set, javac takes ASCII.
            "-encoding",
            "UTF-8",
            "-Xlint:all,-processing,-classfile,-path",
            "-Werror",
            "-proc:none",
        ]);
        let javac = javac.arg("-d").arg(partial).arg("-cp").arg(jars.class_path());
        let javac = javac.args(SOURCES.map(|(name, _)| partial.join(name)));
        Process::run(&javac, COMPILE_LIMIT, progress)
    })?;
    Ok(dir)
}
