//! A server of threads, for apps and orchestrators that a test scripts.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A request, read whole.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Listens until dropped. Each connection has a thread of its own.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request at `address` by `handle`, which writes the answer itself; its error ends the connection.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn start<H>(address: SocketAddr, handle: H) -> Self
    where
        H: Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).expect("a loopback address can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, opened) = (Arc::clone(&stop), Arc::clone(&open));
        let handle = Arc::new(handle);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !stopped.load(Ordering::Acquire)) {
                opened.lock().expect("no holder panics").extend(stream.try_clone());
                let handle = Arc::clone(&handle);
                // The thread ends with its connection, which `drop` shuts.
                thread::spawn(move || serve(&stream, handle.as_ref()));
            }
        });
        Self { address, stop, open, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // ignored: only wakes the acceptor; if nobody listens any more it has ended already.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            // ignored: a panic there has been printed, and must not hide the test's own.
            let _ = acceptor.join();
        }
        for stream in self.open.lock().expect("no holder panics").drain(..) {
            // ignored: the peer may have closed it first.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn serve<H>(stream: &TcpStream, handle: &H)
where
    H: Fn(&Request, &mut TcpStream) -> io::Result<()>,
{
    let Ok(mut writer) = stream.try_clone() else { return };
    // ignored: without it answers are only slower.
    let _ = writer.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = read(&mut reader) {
        if handle(&request, &mut writer).is_err() {
            break;
        }
    }
    // ignored: the peer may have closed it first.
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        ..Request::default()
    };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}
