//! The adapter between tokio's sockets and hyper's traits.
//!
//! Reads go straight into hyper's own buffer: a copy would cost as much as the kernel's on every body.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Any tokio stream, for hyper.
#[derive(Debug)]
pub struct HyperIo<T>(T);

impl<T> HyperIo<T> {
    /// Wraps `stream`.
    pub fn new(stream: T) -> Self {
        Self(stream)
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &T {
        &self.0
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Reads once from `stream` into the free part of hyper's buffer, and hands over as many of the bytes read as `inspect`
/// says (all of them at most). `inspect` sees them in place and may change them; it is not called when nothing is ready.
///
/// # Errors
/// What the stream's read gives.
#[allow(unsafe_code)] // see SAFETY below; the safe way, put_slice from a buffer of our own, copies every byte again.
pub fn poll_read_inspected<T: AsyncRead + Unpin>(
    stream: &mut T,
    cx: &mut Context<'_>,
    mut cursor: ReadBufCursor<'_>,
    inspect: impl FnOnce(&mut [u8]) -> usize,
) -> Poll<io::Result<()>> {
    // SAFETY: `as_mut` asks that no initialised byte is made uninitialised. The slice is only given to tokio's ReadBuf,
    // whose safe interface promises the same.
    let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    let filled = buffer.filled_mut();
    let read = filled.len();
    let delivered = inspect(filled).min(read);
    // SAFETY: tokio's ReadBuf holds its filled part to be initialised, it starts where the cursor stands, and
    // `delivered` is at most its length.
    unsafe { cursor.advance(delivered) };
    Poll::Ready(Ok(()))
}

/// A message of so many bytes or fewer is laid out in one piece before it is written. A `writev` costs the kernel more than
/// a `write`, which is 3 to 6 % of all that a small request costs (prototypes, `strace -c` and CPU time); from a page on
/// it is the copy that costs more.
const GATHERED_BYTES: usize = 4096;

thread_local! {
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes `bufs`, or a part of them, in one system call: small ones in one piece, large ones from where they are.
///
/// # Errors
/// What the stream's write gives.
pub fn poll_write_gathered<T: AsyncWrite + Unpin>(
    stream: &mut T,
    cx: &mut Context<'_>,
    bufs: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = bufs {
        return Pin::new(stream).poll_write(cx, only);
    }
    if bufs.iter().map(|buf| buf.len()).sum::<usize>() > GATHERED_BYTES {
        return Pin::new(stream).poll_write_vectored(cx, bufs);
    }
    GATHERED.with_borrow_mut(|gathered| {
        gathered.clear();
        bufs.iter().for_each(|buf| gathered.extend_from_slice(buf));
        Pin::new(stream).poll_write(cx, gathered)
    })
}

impl<T: AsyncRead + Unpin> Read for HyperIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        poll_read_inspected(&mut self.get_mut().0, cx, cursor, |bytes| bytes.len())
    }
}

impl<T: AsyncWrite + Unpin> Write for HyperIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }
}
