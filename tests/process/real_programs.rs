//! Real programs on both sides: nginx and Python as apps, curl as client, 10,000 apps in the table.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use holdgate_tests::{
    backend::Backend,
    gateway::{Gateway, free_address},
    http::{self, Connection},
    orchestrator::Orchestrator,
    wait,
};

use crate::host;

/// Apps in the table.
const APPS: usize = 10_000;

/// A program that is ended with the test.
struct Program(Child);

impl Program {
    fn start(command: &mut Command, address: SocketAddr) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let name = command.get_program().to_string_lossy().into_owned();
        let program = Self(child.unwrap_or_else(|e| panic!("{name} is needed (tests/run installs it): {e}")));
        wait::until(&format!("{name} to listen"), || Connection::open(address).ok());
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nginx(folder: &Path) -> (Program, SocketAddr) {
    let address = free_address();
    let root = folder.display();
    let conf = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/nginx.err;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {root}; proxy_temp_path {root}; fastcgi_temp_path {root};\n\
         uwsgi_temp_path {root}; scgi_temp_path {root};\n\
         server {{ listen {address}; root {root}/www; }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), conf).expect("writable");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("nginx.err"));
    (Program::start(&mut command, address), address)
}

fn python(folder: &Path) -> (Program, SocketAddr) {
    let address = free_address();
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", &address.port().to_string(), "--bind", "127.0.0.1", "--directory"]);
    (Program::start(command.arg(folder.join("www")), address), address)
}

fn curl(arguments: &[&str]) -> String {
    let output =
        Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output().expect("curl is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nginx_and_python_are_reached_by_curl_through_ten_thousand_apps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("www")).expect("ours");
    let large = "0123456789abcdef".repeat(64 << 10);
    fs::write(folder.path().join("www/small.txt"), "small\n").expect("writable");
    fs::write(folder.path().join("www/large.txt"), &large).expect("writable");
    let programs = [nginx(folder.path()), python(folder.path())];
    let document = |n: usize| {
        let address = programs[n % 2].1;
        (format!("app-{n:05}"), format!(r#"{{"hosts":["{}"],"endpoints":["{address}"]}}"#, host(n)))
    };
    let orchestrator = Orchestrator::start((0..APPS).map(document));
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    assert_eq!(gateway.status()["table"]["apps"], APPS);
    let url = |path: &str| format!("http://{}{path}", gateway.web);
    for n in [0, 1, APPS / 2, APPS / 2 + 1, APPS - 2, APPS - 1] {
        let header = format!("Host: {}", host(n));
        assert_eq!(curl(&["-H", &header, &url("/small.txt")]), "small\n", "app {n}");
        assert_eq!(curl(&["-H", &header, &url("/large.txt")]), large, "app {n}");
        let code = ["-o", "/dev/null", "-w", "%{http_code}", "-H", &header];
        assert_eq!(curl(&[&code[..], &[&url("/missing")]].concat()), "404", "app {n}");
        assert_eq!(curl(&[&code[..], &["-I", &url("/large.txt")]].concat()), "200", "app {n}");
    }
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: nobody.test", &url("/")]), "404");
}

/// How long it takes is measured by tests/peers/split_post.py; here it has to be right.
#[test]
fn a_post_in_two_small_writes_arrives_whole_on_new_and_kept_connections() {
    let backend = Backend::start("app");
    let document = format!(r#"{{"hosts":["app.test"],"endpoints":["{}"]}}"#, backend.address());
    let orchestrator = Orchestrator::start([("app".to_owned(), document)]);
    let mut gateway = Gateway::configured(&orchestrator.url(), "");
    gateway.start_ready();
    let mut kept = Connection::open(gateway.web).expect("a connection");
    for round in 0..100 {
        let mut fresh = Connection::open(gateway.web).expect("a connection");
        for client in [&mut kept, &mut fresh] {
            let head = format!("POST /{round} HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\n");
            client.write(head.as_bytes()).expect("written");
            client.write(b"hello").expect("written");
            assert_eq!(client.answer(false).expect("an answer").text(), format!("app POST /{round} 5\n"));
        }
    }
    assert_eq!(http::get(gateway.web, "app.test", "/").expect("an answer").status, 200);
}
