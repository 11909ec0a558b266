//! HTTP/2 by hand: frames that no honest client sends.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use super::http::{Dial, End};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// On SETTINGS and PING.
pub(crate) const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of one frame (RFC 9113, 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("payload of a frame")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literal fields without indexing and without Huffman (RFC 7541, 6.2.2).
pub(crate) fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            string_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn string_length(block: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).expect("fits"));
        return;
    }
    block.push(127);
    length -= 127;
    while length >= 128 {
        block.push(u8::try_from(length % 128 + 128).expect("fits"));
        length /= 128;
    }
    block.push(u8::try_from(length).expect("fits"));
}

/// The header block of a request.
pub(crate) fn request_block(method: &str, path: &str) -> Vec<u8> {
    header_block(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "127.0.0.1"),
        (":path", path),
    ])
}

/// A frame as received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// An HTTP/2 connection on which the preface and empty SETTINGS were sent.
pub(crate) struct RawH2 {
    reader: ReadHalf<TlsStream<TcpStream>>,
    pub(crate) writer: WriteHalf<TlsStream<TcpStream>>,
    unread: Vec<u8>,
}

impl RawH2 {
    /// Connects as `dial` says, with ALPN `h2`, and starts HTTP/2.
    pub(crate) async fn connect(dial: &Dial) -> Result<Self, End> {
        let connection = dial.clone().alpn(&["h2"]).connect().await?;
        assert_eq!(
            connection.stream.get_ref().1.alpn_protocol(),
            Some(&b"h2"[..]),
            "ALPN"
        );
        let (reader, writer) = tokio::io::split(connection.stream);
        let mut raw = Self {
            reader,
            writer,
            unread: Vec::new(),
        };
        raw.send(PREFACE).await?;
        raw.send(&frame(SETTINGS, 0, 0, &[])).await?;
        Ok(raw)
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await?;
        Ok(())
    }

    /// The next frame.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Frame, End> {
        loop {
            if let Some(frame) = parse(&mut self.unread) {
                return Ok(frame);
            }
            match timeout_at(deadline, self.reader.read_buf(&mut self.unread)).await {
                Err(_) => return Err(End::Open),
                Ok(Ok(0)) => return Err(End::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(End::from(error)),
            }
        }
    }

    /// Sends what `next` gives until it gives nothing, the deadline passes or the peer has had
    /// enough, while everything that comes back is thrown away. The number of bytes that were sent.
    pub(crate) async fn flood(
        &mut self,
        mut next: impl FnMut() -> Option<Vec<u8>>,
        deadline: Instant,
    ) -> usize {
        let mut sent = 0;
        let mut sink = vec![0u8; 64 * 1024];
        let (reader, writer) = (&mut self.reader, &mut self.writer);
        let drain = async { while let Ok(1..) = reader.read(&mut sink).await {} };
        let pour = async {
            while Instant::now() < deadline
                && let Some(block) = next()
            {
                if writer.write_all(&block).await.is_err() || writer.flush().await.is_err() {
                    return;
                }
                sent += block.len();
            }
        };
        // Whoever ends first ends the flood: time over, or the peer hung up.
        let _ = timeout_at(deadline, async {
            tokio::select! {
                () = drain => {}
                () = pour => {}
            }
        })
        .await;
        sent
    }
}

fn parse(unread: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; 9] = unread.get(..9)?.try_into().ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let payload = unread.get(9..9 + length)?.to_vec();
    unread.drain(..9 + length);
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some(Frame {
        kind: head[3],
        flags: head[4],
        stream,
        payload,
    })
}

#[test]
fn frames_are_written_as_they_are_read() {
    let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, 3, b"abc");
    bytes.extend_from_slice(&frame(PING, ACK, 0, &[7; 8]));
    let first = parse(&mut bytes).expect("frame");
    assert_eq!((first.kind, first.flags, first.stream), (HEADERS, 5, 3));
    assert_eq!(first.payload, b"abc");
    assert_eq!(parse(&mut bytes).expect("frame").payload, [7; 8]);
    assert!(parse(&mut bytes).is_none());
}

#[test]
fn long_strings_have_a_continued_length() {
    // RFC 7541, C.1.2: 1337 with a prefix of five bits; here with seven: 127, then 1210.
    let mut block = Vec::new();
    string_length(&mut block, 1337);
    assert_eq!(block, [127, 0xba, 0x09]);
}
