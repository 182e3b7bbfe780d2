//! Clients that are not ours, run as processes against a service that listens.
//!
//! `./ltv test` installs the official client libraries of `tests/clients/` and says where in
//! `LTVSTREAM_TEST_PYTHON` (a Python that has them) and `LTVSTREAM_TEST_NODE_MODULES` (the folder
//! that holds them).

use std::path::PathBuf;
use std::process::{Command, Stdio};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: this test needs the vendors' client libraries. \
             Run `./ltv test`, which installs them"
        )
    })
}

fn script(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    folder.join(name).to_string_lossy().into_owned()
}

/// Runs a program that must succeed, and gives what it prints.
pub async fn run(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(command).await
}

/// Runs a script of `tests/clients/` in Python with the address of the service and more arguments.
pub async fn python(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(variable("LTVSTREAM_TEST_PYTHON"));
    // No cache beside the sources, and no settings of whoever runs the tests.
    command.args(["-I", "-B", &script(name)]).args(arguments);
    finish(command).await
}

/// The same in Node.
pub async fn node(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("node");
    command.env("NODE_PATH", variable("LTVSTREAM_TEST_NODE_MODULES"));
    command.arg(script(name)).args(arguments);
    finish(command).await
}

/// Waits on a thread of its own: the service that is asked runs on this runtime.
async fn finish(mut command: Command) -> String {
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    let output = output.await.unwrap().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (printed, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{shown}: {}\n{printed}\n{told}", output.status);
    printed
}

#[tokio::test]
async fn the_installed_clients_are_those_that_are_pinned() {
    let pins = |name: &str| std::fs::read_to_string(script(name)).unwrap();
    for (printed, pinned, count) in [
        (python("versions.py", &[]).await, pins("requirements.txt"), 3),
        (node("versions.js", &[]).await, pins("package.json"), 3),
    ] {
        assert_eq!(printed.lines().count(), count);
        for line in printed.lines() {
            assert!(pinned.contains(line), "{line} is not in\n{pinned}");
        }
    }
}
