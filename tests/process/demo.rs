//! `holdgate demo`, as the README's first command runs it: every command that it prints works.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use holdgate_tests::{
    gateway::{binary, free_address},
    wait,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

struct Demo {
    child: Child,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = fs::File::create(folder.path().join("output")).expect("writable");
        let mut command = Command::new(binary());
        command.arg("demo").stdin(Stdio::null()).stdout(output.try_clone().expect("a descriptor")).stderr(output);
        for flag in ["--listen", "--admin", "--orchestrator"] {
            command.arg(flag).arg(free_address().to_string());
        }
        Self { child: command.spawn().expect("the demo can be started"), folder }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).expect("readable")
    }

    /// The commands it prints, in their order.
    fn commands(&self) -> Vec<String> {
        let output =
            wait::until("the demo to say what to try", || Some(self.output()).filter(|o| o.contains("restore-apps")));
        output.lines().filter_map(|l| l.strip_prefix("     ")).map(str::to_owned).collect()
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // ignored: it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell(command: &str) -> String {
    let mut shell = Command::new("sh");
    let output = shell
        .args(["-c", &command.replace("curl ", "curl -sSf ")])
        .env_remove("HOLDGATE_BIN")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn children(of: u32) -> Vec<i32> {
    let output = Command::new("ps").args(["-o", "pid=", "--ppid", &of.to_string()]).output().expect("ps");
    String::from_utf8_lossy(&output.stdout).split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

#[test]
fn every_command_of_the_demo_works_and_it_leaves_nothing_behind() {
    let mut demo = Demo::start();
    let commands = demo.commands();
    assert!(commands.len() >= 12, "{commands:?}");
    let mut hello = 0;
    for command in &commands {
        let said = shell(command);
        if command.contains("hello.localhost' http") {
            hello += 1;
            assert!(said.contains("hello"), "{command}: {said}");
        }
    }
    assert_eq!(hello, 3, "before the restart, after it, and with every app deleted: {commands:?}");
    let gateways = children(demo.child.id());
    assert!(!gateways.is_empty(), "the gateway is a process of its own");
    kill_process(demo.pid(), Signal::INT).expect("it is ours");
    let ended = wait::until("the demo to end", || demo.child.try_wait().expect("it can be asked"));
    assert_eq!(ended.code(), Some(0), "{}", demo.output());
    for gateway in gateways {
        let pid = Pid::from_raw(gateway).expect("a pid");
        assert!(test_kill_process(pid).is_err(), "the gateway {gateway} is still there");
    }
}
