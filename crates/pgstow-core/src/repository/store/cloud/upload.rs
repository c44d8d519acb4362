//! Writing a file of a bucket.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutPayload};

use super::Bucket;
use super::failure::Failure;
use crate::repository::store::{PendingFile, StoreError};

/// What is kept in memory, and sent in one request.
const IN_MEMORY_BYTES: usize = 8 << 20;
const MEBIBYTE: u64 = 1 << 20;
/// Stores take up to 10,000 parts.
const PARTS: u64 = 9_000;
/// Parts in memory at once, of all files together; a part that is larger takes all of it.
pub(super) const ROOM_FOR_PARTS_MEBIBYTES: u32 = 64;
/// So often a file is put whose first answer got lost.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// A file that is being written, here and not in the bucket.
///
/// Its name is known when it is committed and not before, since most names are hashes of the
/// content. A bucket cannot rename; it could copy, but copies are limited in size, and what was
/// copied would have to be deleted, which a careful user forbids. So the content waits here: up to
/// 8 MiB in memory, more in a file without a name in the spool folder, that nobody else can open
/// and that is gone with the process. It is what will be stored: compressed, and encrypted where
/// the repository is.
pub(super) struct CloudFile {
    bucket: Arc<Bucket>,
    content: Content,
}

enum Content {
    Memory(Vec<u8>),
    Spooled { file: File, bytes: u64 },
}

impl CloudFile {
    pub(super) fn new(bucket: Arc<Bucket>) -> Self {
        Self { bucket, content: Content::Memory(Vec::new()) }
    }

    fn spool_failure(&self, error: io::Error) -> io::Error {
        let path = self.bucket.spool.display().to_string();
        io::Error::new(error.kind(), StoreError::of("write into", path, error))
    }
}

impl Write for CloudFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Content::Memory(memory) = &mut self.content {
            if memory.len().saturating_add(buffer.len()) <= IN_MEMORY_BYTES {
                memory.extend_from_slice(buffer);
                return Ok(buffer.len());
            }
            let memory = std::mem::take(memory);
            let spooled = tempfile::tempfile_in(&self.bucket.spool).and_then(|mut file| {
                file.write_all(&memory)?;
                Ok(Content::Spooled { file, bytes: memory.len() as u64 })
            });
            self.content = spooled.map_err(|error| self.spool_failure(error))?;
        }
        let Content::Spooled { file, bytes } = &mut self.content else { return Ok(0) };
        let written = file.write(buffer);
        match written {
            Ok(count) => {
                *bytes = bytes.saturating_add(count as u64);
                Ok(count)
            }
            Err(error) => Err(self.spool_failure(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PendingFile for CloudFile {
    fn commit(self: Box<Self>, path: &str) -> Result<bool, StoreError> {
        let Self { bucket, content } = *self;
        let key = bucket.key(path)?;
        bucket.wait(async {
            if bucket.look(path).await?.is_some() {
                return Ok(false);
            }
            match content {
                Content::Memory(content) => put_new(&bucket, path, &key, content.into()).await,
                Content::Spooled { file, bytes } => put_large(&bucket, path, &key, file, bytes).await,
            }
        })
    }
}

/// Puts a small file where none is.
async fn put_new(bucket: &Bucket, path: &str, key: &Key, content: PutPayload) -> Result<bool, StoreError> {
    let mut attempt = 1;
    loop {
        let plain = bucket.lacks_conditions.load(Ordering::Relaxed);
        let mode = if plain { PutMode::Overwrite } else { PutMode::Create };
        let put = bucket.client().put_opts(key, content.clone(), mode.into());
        let failure = match bucket.ask(put).await {
            Ok(_) => return Ok(true),
            Err(failure) => failure,
        };
        if !plain && lacks_conditions(&failure) {
            bucket.lacks_conditions.store(true, Ordering::Relaxed);
            continue;
        }
        let exists = matches!(failure.0, object_store::Error::AlreadyExists { .. });
        if !exists && !may_have_worked(&failure) {
            return Err(bucket.failed("write", path)(failure));
        }
        // The answer to a put that worked may have got lost, and the repetition finds its own file.
        match holds(bucket, key, &content).await {
            Ok(Some(same)) => return Ok(same),
            Err(_) if exists => return Ok(false),
            _ if attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            _ => return Err(bucket.failed("write", path)(failure)),
        }
    }
}

/// Whether a store does not know the condition, that nothing is there yet.
pub(super) fn lacks_conditions((error, exchange): &Failure) -> bool {
    let answer = exchange.as_ref().and_then(|exchange| exchange.answer.as_ref());
    matches!(error, object_store::Error::NotImplemented { .. })
        || answer.is_some_and(|answer| answer.status == 501 || answer.code == "NotImplemented")
}

/// Whether a put may have been done although it failed: no answer came, or one about the server.
fn may_have_worked((_, exchange): &Failure) -> bool {
    match exchange {
        Some(exchange) => exchange.answer.as_ref().is_none_or(|answer| answer.status >= 500),
        None => false,
    }
}

/// Whether a file holds just this; `None` when it is not there.
async fn holds(bucket: &Bucket, key: &Key, content: &PutPayload) -> Result<Option<bool>, Failure> {
    let found = bucket.ask_soon(async {
        let found = bucket.client().get(key).await?;
        if found.meta.size != content.content_length() as u64 {
            return Ok(None);
        }
        found.bytes().await.map(Some)
    });
    match found.await {
        Ok(found) => {
            let expected = content.iter().flat_map(|piece| piece.iter());
            Ok(Some(found.is_some_and(|found| found.iter().eq(expected))))
        }
        Err((object_store::Error::NotFound { .. }, _)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Puts a large file in parts; a failure withdraws them.
async fn put_large(
    bucket: &Bucket,
    path: &str,
    key: &Key,
    mut file: File,
    bytes: u64,
) -> Result<bool, StoreError> {
    let mut attempt = 1;
    loop {
        match put_in_parts(bucket, path, key, &mut file, bytes).await? {
            Completed::Stored => return Ok(true),
            Completed::Exists => return Ok(false),
            Completed::Lost(failure) if attempt >= ATTEMPTS => {
                return Err(bucket.failed("write", path)(failure));
            }
            Completed::Lost(_) => {
                tokio::time::sleep(PAUSE * attempt).await;
                attempt += 1;
            }
        }
    }
}

/// What became of an upload whose parts have all been taken.
enum Completed {
    Stored,
    /// Another run has been faster.
    Exists,
    /// The store no longer has all of its parts.
    Lost(Failure),
}

async fn put_in_parts(
    bucket: &Bucket,
    path: &str,
    key: &Key,
    file: &mut File,
    bytes: u64,
) -> Result<Completed, StoreError> {
    let mut upload =
        bucket.ask(bucket.client().put_multipart(key)).await.map_err(bucket.failed("write", path))?;
    let done = complete(bucket, path, upload.as_mut(), file, bytes).await;
    if !matches!(done, Ok(Completed::Stored)) {
        // Parts that stay are invisible, and ended by a rule of the bucket.
        let _ = bucket.ask_soon(upload.abort()).await;
    }
    done
}

async fn complete(
    bucket: &Bucket,
    path: &str,
    upload: &mut dyn MultipartUpload,
    file: &mut File,
    bytes: u64,
) -> Result<Completed, StoreError> {
    send_parts(bucket, path, upload, file, bytes).await?;
    // That took its time.
    if bucket.look(path).await?.is_some() {
        return Ok(Completed::Exists);
    }
    let failure = match bucket.ask(upload.complete()).await {
        Ok(_) => return Ok(Completed::Stored),
        Err(failure) => failure,
    };
    // The answer to one that worked may have got lost, and its repetition finds no upload.
    match bucket.look(path).await {
        Ok(Some(found)) if found.size == bytes => Ok(Completed::Stored),
        _ if lost_parts(&failure) => Ok(Completed::Lost(failure)),
        _ => Err(bucket.failed("write", path)(failure)),
    }
}

/// Whether a store does not know a part or the upload, of which it had taken each part.
///
/// A store that is interrupted while it puts the parts together may have used some of them up, and
/// Ceph's radosgw no longer knows a part that was sent again after a cut. Sending all of them anew
/// helps.
fn lost_parts((_, exchange): &Failure) -> bool {
    let answer = exchange.as_ref().and_then(|exchange| exchange.answer.as_ref());
    answer.is_some_and(|answer| matches!(answer.code.as_str(), "InvalidPart" | "NoSuchUpload"))
}

async fn send_parts(
    bucket: &Bucket,
    path: &str,
    upload: &mut dyn MultipartUpload,
    file: &mut File,
    bytes: u64,
) -> Result<(), StoreError> {
    let spool = bucket.spool.display().to_string();
    let unreadable = |error| StoreError::of("read from", spool.clone(), error);
    file.rewind().map_err(unreadable)?;
    let part_bytes = part_bytes(bytes);
    let room = u32::try_from(part_bytes / MEBIBYTE).unwrap_or(u32::MAX).min(ROOM_FOR_PARTS_MEBIBYTES);
    let mut left = bytes;
    let mut running = FuturesUnordered::new();
    while left > 0 || !running.is_empty() {
        // Whoever has parts on their way waits for those; nobody waits for room while holding some.
        let free = if left == 0 {
            None
        } else if running.is_empty() {
            let free = bucket.room_for_parts.acquire_many(room).await;
            Some(free.map_err(|closed| unreadable(io::Error::other(closed)))?)
        } else {
            bucket.room_for_parts.try_acquire_many(room).ok()
        };
        if let Some(free) = free {
            let part = read_part(file, part_bytes.min(left)).map_err(unreadable)?;
            left = left.saturating_sub(part.len() as u64);
            let sent = bucket.ask(upload.put_part(part.into()));
            running.push(async move {
                let sent = sent.await;
                drop(free);
                sent
            });
        } else if let Some(sent) = running.next().await {
            sent.map_err(bucket.failed("write", path))?;
        }
    }
    Ok(())
}

/// Parts of 8 MiB, larger where there would be too many.
fn part_bytes(bytes: u64) -> u64 {
    let needed = bytes.div_ceil(PARTS).next_multiple_of(MEBIBYTE);
    needed.max(IN_MEMORY_BYTES as u64)
}

fn read_part(file: &mut File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(usize::try_from(bytes).map_err(io::Error::other)?);
    file.take(bytes).read_to_end(&mut part)?;
    if part.len() as u64 == bytes { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_has_fewer_parts_than_stores_take() {
        for bytes in [1, 8 * MEBIBYTE, 70 << 30, 100 << 30, 5 << 40, 48 << 40] {
            let part = part_bytes(bytes);
            assert!(bytes.div_ceil(part) < 10_000, "{bytes} bytes in parts of {part}");
            assert!(part >= 5 * MEBIBYTE, "stores take no smaller ones");
        }
        assert_eq!(part_bytes(40 * MEBIBYTE), 8 * MEBIBYTE);
    }
}
