//! What was last said on the wire: seen where requests leave the program.
//!
//! The library below reports a failure as text, and of a HEAD request only its status. So the
//! client is wrapped: each exchange is noted for the operation that it belongs to, with the code
//! that the server gave, its clock and the bucket's region. Each request gets its own time limit
//! here too, which grows with what it has to send.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::HeaderMap;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

/// A link slower than this is taken for broken.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;

/// Headers by which servers name the reason when there is no body.
const CODE_HEADERS: [&str; 2] = ["x-ms-error-code", "x-amz-error-code"];

/// The last exchange of an operation that failed.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// Host and port that were asked.
    pub(super) host: String,
    /// `None` when there was none.
    pub(super) answer: Option<Answer>,
}

/// How a server refused.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `NoSuchBucket`, `ContainerNotFound` …; empty when it gave none.
    pub(super) code: String,
    pub(super) message: String,
    /// The bucket's region, where the server names it.
    pub(super) region: Option<String>,
    /// The server's clock.
    pub(super) date: Option<Timestamp>,
}

type Note = Arc<Mutex<Option<Exchange>>>;

tokio::task_local! {
    static NOTE: Note;
}

/// Does `work`, and returns with an error the exchange that it came from.
pub(super) async fn noting<T, E>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, (E, Option<Exchange>)> {
    let note = Note::default();
    let result = NOTE.scope(Arc::clone(&note), work).await;
    result.map_err(|error| (error, note.lock().unwrap_or_else(PoisonError::into_inner).take()))
}

fn write_down(exchange: Option<Exchange>) {
    // Requests that belong to no operation are nobody's concern.
    let _ = NOTE.try_with(|note| *note.lock().unwrap_or_else(PoisonError::into_inner) = exchange);
}

/// Makes clients that note their exchanges.
#[derive(Debug)]
pub(super) struct Connector {
    /// How long an answer may take, the time to send the request not counted.
    pub(super) answer_limit: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Noting { inner, answer_limit: self.answer_limit }))
    }
}

#[derive(Debug)]
struct Noting {
    inner: HttpClient,
    answer_limit: Duration,
}

#[async_trait]
impl HttpService for Noting {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().authority().map(|host| host.as_str().to_owned()).unwrap_or_default();
        write_down(Some(Exchange { host: host.clone(), answer: None }));
        let bytes = u64::try_from(request.body().content_length()).unwrap_or(u64::MAX);
        let limit = self.answer_limit + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let exchange = async { read_if_short(self.inner.execute(request).await?).await };
        let response = match tokio::time::timeout(limit, exchange).await {
            Ok(response) => response?,
            Err(elapsed) => return Err(HttpError::new(HttpErrorKind::Timeout, elapsed)),
        };
        if response.status().is_success() {
            write_down(None);
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // Of a body that breaks off, the status and the headers still tell something.
        let body = body.bytes().await.unwrap_or_default();
        let answer = Answer::new(parts.status.as_u16(), &parts.headers, &String::from_utf8_lossy(&body));
        write_down(Some(Exchange { host, answer: Some(answer) }));
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// Reads the body of an answer that is no file's content: the page of a listing, the end of an
/// upload. If it breaks off, the library repeats the request, which it does not later.
async fn read_if_short(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.contains("xml")) {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    match body.bytes().await {
        Ok(body) => Ok(HttpResponse::from_parts(parts, body.into())),
        Err(broken) => Err(HttpError::new(HttpErrorKind::Interrupted, broken)),
    }
}

impl Answer {
    fn new(status: u16, headers: &HeaderMap, body: &str) -> Self {
        let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let code = element(body, "Code").or_else(|| CODE_HEADERS.into_iter().find_map(header));
        let date = header("date").and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
        Self {
            status,
            code: code.unwrap_or_default(),
            message: element(body, "Message").unwrap_or_default(),
            region: header("x-amz-bucket-region").or_else(|| element(body, "Region")),
            date: date.map(|date| date.timestamp()),
        }
    }
}

/// Text of the first XML element of that name, on one line and not too long: it comes from outside.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let line = text.lines().next().unwrap_or_default();
    Some(line.chars().filter(|character| !character.is_control()).take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Answer::new(400, &map, body)
    }

    #[test]
    fn the_code_comes_from_the_body_or_else_from_a_header() {
        let body = "<?xml?><Error><Code>AuthorizationHeaderMalformed</Code>\
                    <Message>expecting 'eu-central-1'\nsecond line</Message><Region>eu-central-1</Region></Error>";
        let found = answer(&[], body);
        assert_eq!(found.code, "AuthorizationHeaderMalformed");
        assert_eq!(found.message, "expecting 'eu-central-1'");
        assert_eq!(found.region.as_deref(), Some("eu-central-1"));
        assert_eq!(answer(&[("x-ms-error-code", "ContainerNotFound")], "").code, "ContainerNotFound");
        assert_eq!(answer(&[], "<Code>never closed").code, "");
    }

    #[test]
    fn the_servers_clock_is_read() {
        let found = answer(&[("date", "Sat, 21 Nov 2026 18:54:03 GMT")], "");
        assert_eq!(found.date.unwrap().to_string(), "2026-11-21T18:54:03Z");
        assert_eq!(answer(&[("date", "yesterday")], "").date, None);
    }
}
