//! HTTP/1.x, byte by byte.
//!
//! An HTTP library would repair what is tested here: the case of header names, the exact path, half requests. So a
//! request is written as it stands, and an answer keeps its headers as they came.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer within this: the test has failed. Longer than the longest parked query a test asks for.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A request; HTTP/1.1 with `Host` and `Content-Length` unless said otherwise.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    version: &'static str,
}

impl Request {
    /// A request without a body. `path` goes out as it is, with its query.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            version: "HTTP/1.1",
        }
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As HTTP/1.0, which has neither `Host` nor kept connections.
    #[must_use]
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.path, self.version);
        if self.version == "HTTP/1.1" {
            head.push_str("Host: rollcall.test\r\n");
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "PUT" | "POST" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer, as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in the case they were sent in, in order.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header; names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "status {} with a body that is not JSON ({error}): {}",
                self.status,
                self.text()
            )
        })
    }

    /// `X-Consul-Index`.
    ///
    /// # Panics
    /// When it is missing, 0 or no number: no read may answer so.
    pub fn index(&self) -> u64 {
        let value = self
            .header("X-Consul-Index")
            .and_then(|value| value.parse().ok());
        match value {
            Some(index) if index > 0 => index,
            _ => panic!("no index above 0 in the answer: {self:?}"),
        }
    }

    fn read(reader: &mut impl BufRead, method: &str) -> io::Result<Self> {
        let line = read_line(reader)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status: u16 = status.ok_or_else(|| invalid(format!("status line '{line}'")))?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid(format!("header line '{line}'")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        if status == 100 {
            return Self::read(reader, method);
        }
        let mut response = Self {
            status,
            headers,
            body: Vec::new(),
        };
        if method != "HEAD" && status != 204 && status != 304 {
            response.body = read_body(reader, &response)?;
        }
        Ok(response)
    }
}

fn read_body(reader: &mut impl BufRead, head: &Response) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.header("Transfer-Encoding") == Some("chunked") {
        loop {
            let line = read_line(reader)?;
            let size = usize::from_str_radix(line.trim(), 16)
                .map_err(|_| invalid(format!("chunk size '{line}'")))?;
            let begin = body.len();
            body.resize(begin + size, 0);
            reader.read_exact(&mut body[begin..])?;
            read_line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match head.header("Content-Length") {
        Some(length) => {
            let length = length
                .parse()
                .map_err(|_| invalid(format!("length '{length}'")))?;
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        None => {
            reader.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        ));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// One connection, kept open between requests.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    /// How long to wait for an answer.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.reader.get_ref().set_read_timeout(Some(timeout))
    }

    /// Sends a request and reads its answer.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.write(&request.bytes())?;
        self.read(&request.method)
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads one answer to a request with this method.
    pub fn read(&mut self, method: &str) -> io::Result<Response> {
        Response::read(&mut self.reader, method)
    }

    /// Reads up to `length` bytes as they come, without looking for HTTP.
    pub fn read_raw(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let count = self.reader.read(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Whether nothing has come that was not read yet. An error when the other side closed the connection.
    pub fn is_silent(&mut self) -> io::Result<bool> {
        if !self.reader.buffer().is_empty() {
            return Ok(false);
        }
        let stream = self.reader.get_ref();
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        match peeked {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish_writing(&self) -> io::Result<()> {
        self.reader.get_ref().shutdown(std::net::Shutdown::Write)
    }
}

/// One request on a connection of its own.
pub fn send(address: SocketAddr, request: &Request) -> io::Result<Response> {
    Connection::open(address)?.send(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &str, method: &str) -> io::Result<Response> {
        Response::read(&mut bytes.as_bytes(), method)
    }

    #[test]
    fn keeps_the_case_of_header_names() {
        let answer = parse(
            "HTTP/1.1 404 Not Found\r\nX-Consul-Index: 7\r\nContent-Length: 2\r\n\r\nno",
            "GET",
        );
        let answer = answer.unwrap();
        assert_eq!(
            answer.headers[0],
            ("X-Consul-Index".to_owned(), "7".to_owned())
        );
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.index()),
            (404, "no", 7)
        );
    }

    #[test]
    fn joins_chunks() {
        let answer = parse(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "GET",
        );
        assert_eq!(answer.unwrap().text(), "abcde");
    }

    #[test]
    fn an_answer_to_head_has_no_body_whatever_its_length_says() {
        let answer = parse("HTTP/1.1 405 No\r\nContent-Length: 23\r\n\r\n", "HEAD").unwrap();
        assert!(answer.body.is_empty());
    }

    #[test]
    fn a_body_that_stops_half_way_is_an_error() {
        assert!(parse("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "GET").is_err());
    }
}
