//! How do bytes leave: whole, cut, slow, never, or with the connection torn down?

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// What a request does to its connection, beside its answer.
#[derive(Default)]
pub struct Fate {
    reset: AtomicBool,
    closed_on_reuse: AtomicBool,
}

impl Fate {
    /// The connection ends with a reset.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// The next request finds the connection closed.
    pub fn close_on_reuse(&self) {
        self.closed_on_reuse.store(true, Ordering::Relaxed);
    }
}

/// A connection that can be torn down.
pub struct Link {
    stream: TcpStream,
    fate: Arc<Fate>,
}

impl Link {
    pub fn new(stream: TcpStream, fate: Arc<Fate>) -> Link {
        Link { stream, fate }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.fate.reset.load(Ordering::Relaxed) {
            // Without it the connection ends with FIN, which is a fault as well.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > filled && self.fate.closed_on_reuse.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How an answer leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Whole,
    /// Half of the body, then the connection closes.
    Cut,
    /// One byte of the body, and nothing more.
    StallBody,
    Slow {
        pause: Duration,
        bytes: usize,
    },
    Huge {
        bytes: usize,
    },
    /// The answer says that the connection closes.
    Closing,
    /// The next request on the connection finds it closed.
    ClosedOnReuse,
}

/// The body of an answer.
pub struct Outgoing {
    pieces: VecDeque<Bytes>,
    /// What `Content-Length` says, whatever comes.
    announced: u64,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
    end: End,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    Whole,
    /// Closed, once what went before is flushed.
    Closed,
    Torn,
    Never,
}

impl Outgoing {
    pub fn new(body: Vec<u8>, way: Way) -> Outgoing {
        match way {
            Way::Whole | Way::Closing | Way::ClosedOnReuse => Outgoing::whole(body),
            Way::Cut => {
                let half = body.len() / 2;
                Outgoing::first(body, half, End::Closed)
            }
            Way::StallBody => Outgoing::first(body, 1, End::Never),
            Way::Slow { pause, bytes } => Outgoing::slow(body, pause, bytes),
            Way::Huge { bytes } => Outgoing::huge(bytes),
        }
    }

    pub fn whole(body: Vec<u8>) -> Outgoing {
        let announced = body.len() as u64;
        let pieces = (!body.is_empty()).then(|| Bytes::from(body));
        Outgoing { pieces: pieces.into_iter().collect(), announced, pause: None, end: End::Whole }
    }

    /// Some bytes of the body, then something else.
    fn first(body: Vec<u8>, bytes: usize, end: End) -> Outgoing {
        let piece = Bytes::copy_from_slice(&body[..bytes.min(body.len())]);
        Outgoing { pieces: VecDeque::from([piece]), end, ..Outgoing::whole(body) }
    }

    fn slow(body: Vec<u8>, pause: Duration, bytes: usize) -> Outgoing {
        let pieces = body.chunks(bytes.max(1)).map(Bytes::copy_from_slice);
        Outgoing {
            pieces: pieces.collect(),
            announced: body.len() as u64,
            pause: Some((pause, Box::pin(sleep(pause)))),
            end: End::Whole,
        }
    }

    /// A JSON string of so many bytes, in pieces that share their memory.
    fn huge(bytes: usize) -> Outgoing {
        let piece = Bytes::from(vec![b'x'; 1 << 16]);
        let mut pieces = VecDeque::from([Bytes::from_static(b"{\"success\":true,\"result\":\"")]);
        let mut left = bytes;
        while left > 0 {
            let size = left.min(piece.len());
            pieces.push_back(piece.slice(..size));
            left -= size;
        }
        pieces.push_back(Bytes::from_static(b"\"}"));
        Outgoing {
            announced: pieces.iter().map(|piece| piece.len() as u64).sum(),
            pieces,
            pause: None,
            end: End::Whole,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some((pause, timer)) = &mut self.pause {
            ready!(timer.as_mut().poll(cx));
            timer.set(sleep(*pause));
        }
        match (self.pieces.pop_front(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, End::Whole) => Poll::Ready(None),
            (None, End::Closed) => {
                self.end = End::Torn;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (None, End::Torn) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
            (None, End::Never) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.end == End::Whole
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
