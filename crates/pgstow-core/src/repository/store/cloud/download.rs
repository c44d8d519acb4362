//! Reading a file of a bucket: a stream that goes on where it broke.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{GetOptions, GetRange};

use super::Bucket;
use super::failure::{CloudCase, Failure, cloud};
use crate::repository::store::StoreError;

/// So often in a row a body may break without a byte having come. (The library repeats as well,
/// but only in the first minutes of a body.)
const BREAKS_IN_A_ROW: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// One file, read from its beginning to its end. It holds no more than the piece that came last.
pub(super) struct Reader {
    bucket: Arc<Bucket>,
    path: String,
    body: BoxStream<'static, object_store::Result<Bytes>>,
    piece: Bytes,
    /// What the file was when it was opened; another is not read on.
    e_tag: Option<String>,
    position: u64,
    length: u64,
    breaks: u32,
}

impl Reader {
    pub(super) fn open(bucket: &Arc<Bucket>, path: &str) -> Result<Self, StoreError> {
        let key = bucket.key(path)?;
        let options = GetOptions::default();
        let opened = bucket.wait(bucket.ask_soon(bucket.client().get_opts(&key, options)));
        let opened = opened.map_err(bucket.failed("read", path))?;
        Ok(Self {
            bucket: Arc::clone(bucket),
            path: path.to_owned(),
            e_tag: opened.meta.e_tag.clone(),
            length: opened.meta.size,
            body: opened.into_stream(),
            piece: Bytes::new(),
            position: 0,
            breaks: 0,
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next piece; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let bucket = Arc::clone(&self.bucket);
        while self.position < self.length {
            match bucket.wait(bucket.ask(next_piece(&mut self.body, bucket.patience.answer))) {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    self.breaks = 0;
                    self.position = self.position.saturating_add(piece.len() as u64);
                    return Ok(Some(piece));
                }
                Ok(None) => self.go_on((broken("the body ended too early"), None))?,
                Err(failure) => self.go_on(failure)?,
            }
        }
        Ok(None)
    }

    /// Asks for the rest after a failure; gives up with it after too many.
    fn go_on(&mut self, mut failure: Failure) -> Result<(), StoreError> {
        let bucket = Arc::clone(&self.bucket);
        let key = bucket.key(&self.path)?;
        while self.e_tag.is_some() && self.breaks < BREAKS_IN_A_ROW {
            self.breaks = self.breaks.saturating_add(1);
            let options = GetOptions::new().with_range(Some(GetRange::Offset(self.position)));
            let rest = bucket.wait(async {
                tokio::time::sleep(PAUSE * self.breaks).await;
                bucket.ask_soon(bucket.client().get_opts(&key, options)).await
            });
            match rest {
                Ok(rest) if rest.meta.e_tag == self.e_tag => {
                    self.body = rest.into_stream();
                    return Ok(());
                }
                Ok(_) => return Err(cloud("read", bucket.display(&self.path), CloudCase::Changed)),
                Err(next) => failure = next,
            }
        }
        Err(bucket.failed("read", &self.path)(failure))
    }
}

async fn next_piece(
    body: &mut BoxStream<'static, object_store::Result<Bytes>>,
    limit: Duration,
) -> object_store::Result<Option<Bytes>> {
    match tokio::time::timeout(limit, body.next()).await {
        Ok(next) => next.transpose(),
        Err(elapsed) => Err(object_store::Error::Generic {
            store: "cloud",
            source: Box::new(HttpError::new(HttpErrorKind::Timeout, elapsed)),
        }),
    }
}

fn broken(why: &str) -> object_store::Error {
    object_store::Error::Generic { store: "cloud", source: Box::new(io::Error::other(why.to_owned())) }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.piece.is_empty() {
            match self.next().map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
