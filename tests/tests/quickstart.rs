//! `deploy/quickstart` after its build: the scenario to its last line, Ctrl-C in the middle, what `--keep` leaves and
//! `--clean` ends, and what its script does with a step that fails or is interrupted.

#![expect(clippy::expect_used, reason = "a test that cannot start a process has failed, and says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use copyist_tests::{Progress, Scratch, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(300);
const SUCCESS: &str = "100000 of 100000 records equal in 10 partitions";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A run's directory, where the script would have made it.
fn run_dir(scratch: &Scratch) -> PathBuf {
    let dir = scratch.path().join("copyist/quickstart/1");
    fs::create_dir_all(&dir).expect("made");
    dir
}

/// The program, its output in the file `said`.
fn quickstart(scratch: &Scratch, dir: &Path, options: &[&str]) -> Child {
    let said = fs::File::create(said_file(scratch)).expect("made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    command.arg("--dir").arg(dir).arg("--target").arg(scratch.path().join("target")).args(options);
    command.stderr(said.try_clone().expect("shared")).stdout(said).spawn().expect("started")
}

fn said_file(scratch: &Scratch) -> PathBuf {
    scratch.path().join("said")
}

fn said(scratch: &Scratch) -> String {
    fs::read_to_string(said_file(scratch)).unwrap_or_default()
}

/// The command lines that contain a text.
fn processes_with(text: &str) -> Vec<String> {
    find_processes(text).into_iter().map(|(_, line)| line).collect()
}

fn find_processes(text: &str) -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").expect("there is /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let lines = pids.filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?)));
    lines.map(|(pid, line)| (pid, line.replace('\0', " "))).filter(|(_, line)| line.contains(text)).collect()
}

/// Ends what a failed test would leave: the processes whose command line contains the text.
struct EndAll(String);

impl Drop for EndAll {
    fn drop(&mut self) {
        for (pid, _) in find_processes(&self.0) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn wait_for_text(scratch: &Scratch, text: &str) {
    let found = || Ok(said(scratch).contains(text).then_some(()));
    wait_until(text, LIMIT, Progress::Silent, found)
        .unwrap_or_else(|error| panic!("{error}: {}", said(scratch)));
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("it runs");
}

#[test]
fn the_scenario_ends_with_all_records_equal_and_leaves_nothing() {
    let scratch = Scratch::new("quickstart").expect("made");
    let dir = run_dir(&scratch);
    let status = quickstart(&scratch, &dir, &[]).wait().expect("it ends");
    let said = said(&scratch);
    assert!(status.success(), "{said}");
    assert_eq!(said.lines().last(), Some(SUCCESS), "{said}");
    assert!(
        said.contains("$ curl -X POST -H \"Content-Type: application/json\" --data '{\"name\""),
        "{said}"
    );
    assert!(!dir.exists(), "its files are gone");
    assert_eq!(processes_with(&dir.display().to_string()), Vec::<String>::new());
}

#[test]
fn a_kept_run_works_on_until_it_is_cleaned() {
    let scratch = Scratch::new("quickstart-kept").expect("made");
    let dir = run_dir(&scratch);
    let _guard = EndAll(dir.display().to_string());
    let status = quickstart(&scratch, &dir, &["--keep"]).wait().expect("it ends");
    let said = said(&scratch);
    assert!(status.success() && said.lines().last() == Some(SUCCESS), "{said}");
    let name = dir.display().to_string();
    assert_eq!(processes_with(&name).len(), 3, "two brokers and copyist run");
    let url = said.lines().find_map(|line| line.trim().strip_prefix("curl -s http://"));
    let url = format!("http://{}", url.expect("it tells how to look"));
    let status = Command::new("curl").args(["-s", &url]).output();
    let status = String::from_utf8_lossy(&status.expect("curl runs").stdout).into_owned();
    assert!(status.contains("\"RUNNING\""), "{url}: {status}");

    let cleaned = script(&scratch, "exec deploy/quickstart --clean").output().expect("it ran");
    let told = String::from_utf8_lossy(&cleaned.stdout).into_owned();
    assert!(cleaned.status.success() && told.contains(&format!("Stopping 3 processes of {name}")), "{told}");
    assert!(!dir.exists() && processes_with(&name).is_empty(), "{told}");
}

#[test]
fn an_interrupt_in_any_phase_ends_everything() {
    let phases: [(&str, &[&str]); 4] = [
        ("[2/9] Start two Kafka clusters", &[]),
        ("[4/9] Create topic", &["--keep"]),
        ("[5/9] Create connector", &[]),
        ("5,000 a second", &["--keep"]),
    ];
    for (phase, options) in phases {
        let scratch = Scratch::new("quickstart-interrupted").expect("made");
        let dir = run_dir(&scratch);
        let _guard = EndAll(dir.display().to_string());
        let mut child = quickstart(&scratch, &dir, options);
        wait_for_text(&scratch, phase);
        interrupt(&child);
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(130), "{phase}: {}", said(&scratch));
        assert!(!dir.exists(), "{phase}: its files are gone");
        assert_eq!(processes_with(&dir.display().to_string()), Vec::<String>::new(), "{phase} {options:?}");
    }
}

#[test]
fn a_failing_step_is_named_with_the_end_of_its_log() {
    let scratch = Scratch::new("quickstart-failed").expect("made");
    let dir = run_dir(&scratch);
    let said = fs::File::create(said_file(&scratch)).expect("made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    command.arg("--dir").arg(&dir).arg("--target").arg(scratch.path());
    // A copyist that ends at once, and complains.
    let status = command.env("COPYIST_BIN", "/bin/cat").stderr(said).stdout(Stdio::null()).status();
    assert_eq!(status.expect("it ran").code(), Some(1));
    let said = self::said(&scratch);
    let log = dir.join("copyist/copyist.log");
    let expected = format!(
        "Failed at step 3 of 9 (Start Copyist): copyist ended with exit status: 1; the end of its \
                            log {}:",
        log.display()
    );
    assert!(said.contains(&expected) && said.contains("standalone: No such file"), "{said}");
    assert!(said.contains(&format!("All logs are in {}", dir.display())), "{said}");
    assert!(log.exists() && dir.join("failed").exists() && !dir.join("source/node-1/data").exists());
}

/// Bash in the repository, with the scratch directory as the cache.
fn script(scratch: &Scratch, text: &str) -> Command {
    // Bash cannot trap what was ignored before it began, as after `tests/run &`.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", "bash", "-euo", "pipefail", "-c", text]).current_dir(repository());
    command.env("XDG_CACHE_HOME", scratch.path()).stdin(Stdio::null());
    command
}

const STEPS: &str = "source deploy/machine.bash; source deploy/runs.bash; begin_run; ";

#[test]
fn an_interrupted_step_of_the_script_takes_its_children_along() {
    let scratch = Scratch::new("quickstart-script").expect("made");
    // A time of its own makes the children findable.
    let sleep = format!("sleep 600.{}", std::process::id());
    let text =
        format!("{STEPS} run_logged Sleeping sleep.log bash -c 'echo asleep; {sleep} & {sleep}; true'");
    let said = fs::File::create(said_file(&scratch)).expect("made");
    let mut child = script(&scratch, &text).stdout(said).spawn().expect("started");
    let two = || {
        Ok((processes_with(&sleep).iter().filter(|line| line.starts_with("sleep")).count() == 2)
            .then_some(()))
    };
    wait_until("two children", LIMIT, Progress::Silent, two).expect("they start");
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(processes_with(&sleep), Vec::<String>::new());
    let runs = fs::read_dir(scratch.path().join("copyist/quickstart")).expect("read").count();
    assert_eq!(runs, 0, "its directory is gone");
}

#[test]
fn a_failed_step_of_the_script_shows_its_last_lines_and_the_newest_three_stay() {
    let scratch = Scratch::new("quickstart-script").expect("made");
    let failing = "run_logged Counting count.log bash -c 'for n in $(seq 30); do echo line $n; done; exit 7'";
    let fail = || script(&scratch, &format!("{STEPS} {failing}")).output().expect("it ran");
    let Output { status, stderr, .. } = fail();
    let told = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(7));
    assert!(told.starts_with("Counting failed (exit status 7). The last lines of its log "), "{told}");
    assert!(
        told.contains("    line 11\n") && told.ends_with("line 30\n") && !told.contains("line 10\n"),
        "{told}"
    );
    (0..4).for_each(|_| drop(fail()));
    let runs = || fs::read_dir(scratch.path().join("copyist/quickstart")).expect("read").count();
    assert_eq!(runs(), 4, "three, and the newest");
    script(&scratch, "exec deploy/quickstart --clean").output().expect("it ran");
    assert_eq!(runs(), 0);
}

#[test]
fn a_wrong_option_is_named() {
    let scratch = Scratch::new("quickstart-script").expect("made");
    let output = script(&scratch, "exec deploy/quickstart --kepp").output().expect("it ran");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "deploy/quickstart has no option --kepp; deploy/quickstart --help shows those it has\n");
}
