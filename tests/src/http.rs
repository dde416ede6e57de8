//! A client of a few lines, so that what goes over the wire is what a test wrote.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one read may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, decoded.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// One connection, kept alive.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Writes these bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Reads one answer; `head` when it answers a HEAD.
    ///
    /// # Errors
    /// When it is cut short, or not HTTP.
    pub fn answer(&mut self, head: bool) -> io::Result<Answer> {
        let status = self.status()?;
        let headers = self.headers()?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !head && !matches!(status, 100..=199 | 204 | 304) {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    /// Asks for `path` of `host`.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is cut short.
    pub fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        self.answer(false)
    }

    /// What comes until the peer closes.
    ///
    /// # Errors
    /// When it does not close in time.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).map(|_| bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn status(&mut self) -> io::Result<u16> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line))
    }

    fn headers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { return Ok(headers) };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if answer.header("transfer-encoding").is_some() {
            return self.chunks();
        }
        let Some(length) = answer.header("content-length").and_then(|l| l.parse().ok()) else { return self.rest() };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).map(|()| body)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size =
                usize::from_str_radix(&line, 16).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, line))?;
            if size == 0 {
                self.headers()?;
                return Ok(body);
            }
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk)?;
            chunk.truncate(size);
            body.append(&mut chunk);
        }
    }
}

/// Asks for `path` of `host` on a connection of its own.
///
/// # Errors
/// When nobody answers at `address`, or the answer is cut short.
pub fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    Connection::open(address)?.get(host, path)
}

/// Sends a JSON body on a connection of its own.
///
/// # Errors
/// When nobody answers at `address`, or the answer is cut short.
pub fn post(address: SocketAddr, host: &str, path: &str, json: &str) -> io::Result<Answer> {
    let mut connection = Connection::open(address)?;
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write(format!("{head}{json}").as_bytes())?;
    connection.answer(false)
}
