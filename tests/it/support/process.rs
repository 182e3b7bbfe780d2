//! The real binary as a process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a process may take to answer before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than requests, commits and publications may take after they are told to end.
const END_PATIENCE: Duration = Duration::from_secs(150);

/// The program under test.
pub fn ltvstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ltvstream"));
    // Settings of whoever runs the tests are not ours.
    for (name, _) in std::env::vars() {
        if name.starts_with("LTVSTREAM") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command in a folder to its end: exit code, standard output, standard error.
pub fn run_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = ltvstream().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Sends a signal of this name.
pub fn signal(name: &str, child: &Child) {
    let arguments = [format!("-{name}"), child.id().to_string()];
    assert!(Command::new("kill").args(arguments).status().unwrap().success());
}

/// The exit code of a process that is about to end.
pub fn ended(child: &mut Child) -> Option<i32> {
    let asked_at = Instant::now();
    while asked_at.elapsed() < END_PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("the process goes on");
}

/// A running `ltvstream serve`, killed when it goes out of scope.
pub struct Served {
    child: Child,
    pub url: String,
}

impl Served {
    /// Starts it and waits until it has told its address.
    pub fn start(arguments: &[&str], log: &Path) -> Self {
        let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut child = ltvstream()
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().and_then(Result::ok);
        let url = line.as_deref().and_then(|line| line.strip_prefix("serving on "));
        let Some(url) = url.map(str::to_owned) else {
            let status = child.wait();
            let log = std::fs::read_to_string(log).unwrap_or_default();
            panic!("serve did not start ({status:?}), it said:\n{log}");
        };
        Self { child, url }
    }

    /// The body of an answer as JSON; `None` unless the status is 200.
    pub fn get(&self, path: &str) -> Option<Value> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .build();
        let mut response =
            ureq::Agent::new_with_config(config).get(format!("{}{path}", self.url)).call().ok()?;
        let is_ok = response.status().as_u16() == 200;
        let text = response.body_mut().read_to_string().ok()?;
        if is_ok { serde_json::from_str(&text).ok() } else { None }
    }

    /// Asks until `accepts` does.
    pub fn wait_for(&self, path: &str, accepts: impl Fn(&Value) -> bool) -> Value {
        let asked_at = Instant::now();
        let mut last = None;
        while asked_at.elapsed() < PATIENCE {
            last = self.get(path);
            if let Some(answer) = last.as_ref().filter(|answer| accepts(answer)) {
                return answer.clone();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{path} never became what was waited for; the last answer was {last:?}");
    }

    /// Most memory that was resident so far, in bytes.
    pub fn most_resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(self) -> Option<i32> {
        signal("TERM", &self.child);
        self.end()
    }

    /// The exit code with which it ends by itself.
    pub fn end(mut self) -> Option<i32> {
        ended(&mut self.child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Already gone in the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
