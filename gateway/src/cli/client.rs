//! How commands talk to a running gateway: by its admin API, at the address and with the token of the configuration or
//! of the command line. One request a connection, each with a deadline.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use super::{
    args::{ClientArgs, Global},
    upload::Upload,
};
use crate::{
    admin::view::ErrorView,
    config::{Config, ListenAddress},
};

/// For a connection to a socket of this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole call; more than the server gives itself.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);
/// For a call that moves a whole table; more than the server gives itself.
const TABLE_TIMEOUT: Duration = Duration::from_secs(16 * 60);
/// For the next part of a table to come.
const PART_TIMEOUT: Duration = Duration::from_secs(60);
/// A page of a thousand apps with a thousand hosts each is far below it.
const ANSWER_BYTES: usize = 512 << 20;

/// Reaches one gateway.
#[derive(Debug)]
pub struct Client {
    address: ListenAddress,
    token: Option<String>,
    runtime: tokio::runtime::Runtime,
}

type Payload = Either<Full<Bytes>, Upload>;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing listens there, or nothing that answers.
    #[error("no gateway answers at {address} (is it running, and with this `admin.address`?)")]
    NotRunning {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It refused the call.
    #[error("the gateway answers {status}: {error}")]
    Refused {
        /// With which status.
        status: StatusCode,
        /// And why.
        error: String,
    },
    /// What answers is not a gateway's admin API.
    #[error("what answers at {address} is not the admin API: {reason}")]
    Strange {
        /// Where.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

impl CallError {
    /// True when the gateway says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

impl Client {
    /// The gateway that the command line or the configuration names. With `--admin` a configuration is not needed.
    ///
    /// # Errors
    /// When the configuration is bad, the address is none or the token cannot be read.
    pub fn find(global: &Global, args: &ClientArgs) -> anyhow::Result<Self> {
        let token_file = args.token_file.as_deref();
        let Some(address) = &args.admin else {
            let config = load(global)?;
            return Self::of(&config, token_file);
        };
        let address =
            parse_address(address).with_context(|| format!("--admin {address}: give IP:PORT or unix:/PATH"))?;
        // A missing or bad default file is no reason here: the address has been given.
        let configured = if global.config.is_some() { Some(load(global)?) } else { load(global).ok() };
        let token = configured.and_then(|config| config.admin.token);
        Self::new(address, token_file.map_or(Ok(token), |file| read_token(file).map(Some))?)
    }

    /// The gateway that `config` is of.
    ///
    /// # Errors
    /// When the token cannot be read.
    pub fn of(config: &Config, token_file: Option<&Path>) -> anyhow::Result<Self> {
        let token = token_file.map_or(Ok(config.admin.token.clone()), |file| read_token(file).map(Some))?;
        Self::new(config.admin.address.clone(), token)
    }

    fn new(address: ListenAddress, token: Option<String>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { address, token, runtime })
    }

    /// What `GET path` answers.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::GET, path, Either::Left(Full::default()), CALL_TIMEOUT)
    }

    /// What `POST path` answers.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| self.strange(&error))?;
        self.call(Method::POST, path, Either::Left(Full::new(body.into())), CALL_TIMEOUT)
    }

    /// What `POST path` answers to a body that is read while it is sent.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn send_table<T: DeserializeOwned>(&self, path: &str, body: Upload) -> Result<T, CallError> {
        self.call(Method::POST, path, Either::Right(body), TABLE_TIMEOUT)
    }

    /// Writes what `GET path` answers to `out`, bit by bit, and returns how many bytes that were.
    ///
    /// # Errors
    /// See [`CallError`]; and when `out` cannot be written.
    pub fn receive_table(&self, path: &str, out: &mut impl Write) -> anyhow::Result<u64> {
        self.runtime.block_on(async {
            let exchange = self.exchange(Method::GET, path, Either::Left(Full::default()));
            let late = |_| Err(self.not_running(io::ErrorKind::TimedOut.into()));
            let (response, _driver) = timeout(CALL_TIMEOUT, exchange).await.unwrap_or_else(late)?;
            if !response.status().is_success() {
                return Err(self.refused(response).await?.into());
            }
            let (mut body, mut written) = (response.into_body(), 0);
            while let Some(frame) = timeout(PART_TIMEOUT, body.frame()).await.context("the table stopped coming")? {
                let Ok(bytes) = frame.context("the table was cut short")?.into_data() else { continue };
                out.write_all(&bytes)?;
                written += bytes.len() as u64;
            }
            out.flush()?;
            Ok(written)
        })
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Payload,
        limit: Duration,
    ) -> Result<T, CallError> {
        let answer = async {
            let (response, _driver) = self.exchange(method, path, body).await?;
            if !response.status().is_success() {
                return Err(self.refused(response).await?);
            }
            serde_json::from_slice(&self.collect(response).await?).map_err(|error| self.strange(&error))
        };
        let late = |_| Err(self.not_running(io::ErrorKind::TimedOut.into()));
        self.runtime.block_on(async { timeout(limit, answer).await }).unwrap_or_else(late)
    }

    async fn refused(&self, response: Response<Incoming>) -> Result<CallError, CallError> {
        let status = response.status();
        let body = self.collect(response).await?;
        let said: Result<ErrorView, _> = serde_json::from_slice(&body);
        let error = said.map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |said| said.error);
        Ok(CallError::Refused { status, error })
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, CallError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        Ok(body.map_err(|error| self.strange(&error))?.to_bytes())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Payload,
    ) -> Result<(Response<Incoming>, Driver), CallError> {
        let request = self.request(method, path, body)?;
        match &self.address {
            ListenAddress::Tcp(address) => {
                let stream = self.connected(TcpStream::connect(address)).await?;
                stream.set_nodelay(true).map_err(|error| self.not_running(error))?;
                self.send(stream, request).await
            }
            ListenAddress::Unix(path) => self.send(self.connected(UnixStream::connect(path)).await?, request).await,
        }
    }

    async fn connected<S>(&self, connect: impl Future<Output = io::Result<S>>) -> Result<S, CallError> {
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        timeout(CONNECT_TIMEOUT, connect).await.unwrap_or_else(late).map_err(|error| self.not_running(error))
    }

    async fn send<S>(&self, stream: S, request: Request<Payload>) -> Result<(Response<Incoming>, Driver), CallError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.strange(&error))?;
        let driver = Driver(tokio::spawn(async {
            // ignored: what went wrong is the error of the request, or of its answer
            let _ = connection.await;
        }));
        let response = sender.send_request(request).await.map_err(|error| self.strange(&error))?;
        Ok((response, driver))
    }

    fn request(&self, method: Method, path: &str, body: Payload) -> Result<Request<Payload>, CallError> {
        let host = match &self.address {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(body).map_err(|error| self.strange(&error))
    }

    fn not_running(&self, source: io::Error) -> CallError {
        CallError::NotRunning { address: self.address.to_string(), source }
    }

    fn strange(&self, reason: &impl ToString) -> CallError {
        CallError::Strange { address: self.address.to_string(), reason: reason.to_string() }
    }
}

/// What moves the bytes of one connection, until it is dropped.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The configuration that `global` names.
///
/// # Errors
/// When it is bad: exit code 78.
pub(super) fn load(global: &Global) -> anyhow::Result<Config> {
    Ok(Config::load(global.config.as_deref(), std::env::vars())?.config)
}

fn parse_address(text: &str) -> anyhow::Result<ListenAddress> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(ListenAddress::Unix(PathBuf::from(path))),
        None => Ok(ListenAddress::Tcp(text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/').parse()?)),
    }
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("--token-file {}", file.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_configuration_writes_it() {
        for text in ["127.0.0.1:9901", "[::1]:9901", "unix:/run/holdgate/admin.sock"] {
            assert_eq!(parse_address(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_address("http://127.0.0.1:9901/").unwrap().to_string(), "127.0.0.1:9901");
        assert!(parse_address("localhost").is_err());
    }

    /// Answers one request with `answer`, and gives back what was asked.
    fn answering(answer: &'static str) -> (Client, std::thread::JoinHandle<String>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Tcp(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let read = stream.read(&mut asked).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&asked[..read]).to_lowercase()
        });
        (Client::new(address, Some("s3cret".to_owned())).unwrap(), server)
    }

    #[test]
    fn a_call_shows_the_token_and_reads_the_answer() {
        let (client, server) = answering("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
        assert_eq!(client.fetch::<serde_json::Value>("/v1/status").unwrap()["a"], 1);
        let asked = server.join().unwrap();
        assert!(asked.starts_with("get /v1/status http/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: bearer s3cret\r\n"), "{asked}");
    }

    #[test]
    fn a_refusal_says_what_the_gateway_says() {
        let (client, _server) = answering("HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\n{\"error\":\"none\"}");
        let error = client.fetch::<serde_json::Value>("/v1/table/apps/x").unwrap_err();
        assert!(error.is_not_found() && error.to_string().ends_with("404 Not Found: none"), "{error}");
    }

    #[test]
    fn what_is_no_admin_api_is_called_so() {
        let (client, _server) = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        let error = client.fetch::<serde_json::Value>("/v1/status").unwrap_err();
        assert!(matches!(error, CallError::Strange { .. }), "{error}");
    }

    #[test]
    fn a_gateway_that_does_not_run_is_named_with_its_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(ListenAddress::Tcp(free), None).unwrap();
        let error = client.fetch::<serde_json::Value>("/v1/status").unwrap_err();
        assert!(matches!(error, CallError::NotRunning { .. }), "{error}");
        assert!(error.to_string().contains(&free.to_string()), "{error}");
    }
}
