//! A steady load that remembers every failure.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{http::Connection, wait};

/// From one request of a client to its next.
const PACE: Duration = Duration::from_millis(2);
/// So many failures are remembered.
const REMEMBERED: usize = 20;

/// Clients that ask until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// `hosts` are asked in turn, by one client on a kept connection and by one that connects anew each time. Each app
    /// must answer 200 with its host as the first word.
    #[must_use]
    pub fn start(address: SocketAddr, hosts: &[String]) -> Self {
        let load = Self { stop: Arc::default(), asked: Arc::default(), failures: Arc::default(), clients: Vec::new() };
        let clients = [true, false].map(|keep| {
            let (stop, asked, failures) = (Arc::clone(&load.stop), Arc::clone(&load.asked), Arc::clone(&load.failures));
            let hosts = hosts.to_vec();
            thread::spawn(move || {
                let mut kept = None;
                for host in hosts.iter().cycle().take_while(|_| !stop.load(Ordering::Acquire)) {
                    if let Err(why) = ask(address, host, &mut kept) {
                        let mut failures = failures.lock().expect("no holder panics");
                        if failures.len() < REMEMBERED {
                            failures.push(format!("{host} (kept connection: {keep}): {why}"));
                        }
                    }
                    kept = kept.filter(|_| keep);
                    asked.fetch_add(1, Ordering::AcqRel);
                    thread::sleep(PACE);
                }
            })
        });
        Self { clients: clients.into(), ..load }
    }

    /// Waits until `more` requests have been made from now on.
    pub fn go_on(&self, more: u64) {
        let goal = self.asked.load(Ordering::Acquire) + more;
        wait::until("the load to go on", || (self.asked.load(Ordering::Acquire) >= goal).then_some(()));
    }

    /// Stops it and returns the number of requests.
    ///
    /// # Panics
    /// When one of them failed.
    pub fn stop_without_failure(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
        let failures = self.failures.lock().expect("no holder panics");
        assert!(failures.is_empty(), "requests failed:\n{}", failures.join("\n"));
        self.asked.load(Ordering::Acquire)
    }
}

fn ask(address: SocketAddr, host: &str, kept: &mut Option<Connection>) -> Result<(), String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(address).map_err(|e| format!("connect: {e}"))?,
    };
    let answer = connection.get(host, "/").map_err(|e| format!("answer: {e}"))?;
    if answer.status != 200 || answer.text().split(' ').next() != Some(host) {
        return Err(format!("{} {:?}", answer.status, answer.text()));
    }
    *kept = (answer.header("connection") != Some("close")).then_some(connection);
    Ok(())
}
