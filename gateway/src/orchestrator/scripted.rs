//! For tests: a server that gives whatever answer it is told to, bytes for bytes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What it does when a path is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Writes these bytes and closes.
    Bytes(Vec<u8>),
    /// Writes these bytes and then nothing, for ever.
    Stall(Vec<u8>),
    /// Closes without a byte.
    Close,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) answers: BTreeMap<&'static str, Answer>,
    pub(crate) asked: Vec<Asked>,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

/// An answer with this status line, headers and body, whose length is told.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    Answer::Bytes(whole(status, headers, body))
}

pub(crate) fn whole(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl Scripted {
    /// A server that closes every connection until it is told what to answer.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let task = tokio::spawn(serve(listener, Arc::clone(&script)));
        Self { address, script, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Answers `path` so from now on.
    pub(crate) fn on(&self, path: &'static str, answer: Answer) {
        self.script().answers.insert(path, answer);
    }

    /// How often `path` was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.script().asked.iter().filter(|asked| asked.path == path).count()
    }

    pub(crate) fn last(&self, path: &str) -> Asked {
        self.script().asked.iter().rfind(|asked| asked.path == path).unwrap().clone()
    }

    /// Closes the port: from now on connections are refused.
    pub(crate) async fn refuse(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, Arc::clone(&script)));
    }
}

async fn connection(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let Some(asked) = read(&mut stream).await else { return };
    let answer = {
        let mut script = script.lock().unwrap();
        let answer = script.answers.get(asked.path.as_str()).cloned().unwrap_or(Answer::Close);
        script.asked.push(asked);
        answer
    };
    match answer {
        Answer::Bytes(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
        Answer::Stall(bytes) => {
            stream.write_all(&bytes).await.unwrap_or_default();
            std::future::pending().await
        }
        Answer::Close => {}
    }
    // What was written is read by the client before the connection is reset for unread bytes.
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    while bytes.len() < end + length.unwrap_or(0) {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    let target = head.split(' ').nth(1).unwrap();
    let path = target.split('?').next().unwrap().to_owned();
    Some(Asked { path, body: bytes[end..].to_vec(), head })
}
