//! Where an export goes: a file or a folder that gets its name when it is whole, or a stream.
//!
//! Until then it has a name of its own beside the place, so that an interruption leaves nothing that
//! looks complete. Nobody but the user may read it: it is plaintext.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::archive::write::directory::FileWriter;
use crate::error::{Error, Result};

const BUFFER_BYTES: usize = 256 * 1024;

/// Names that are not finished begin so.
const UNFINISHED: &str = ".pgstow-export-";

/// What cannot be done about an existing file.
fn exists(path: &Path) -> Error {
    Error::refused(format!("{} exists already", path.display()))
        .hint("choose another name, or --force to replace it")
}

/// An error about a path.
pub(super) fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    Error::from_io(error, format!("{} cannot be {what}", path.display()))
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file in the making.
pub(super) struct OutputFile {
    path: PathBuf,
    force: bool,
    file: BufWriter<NamedTempFile>,
}

impl OutputFile {
    /// # Errors
    /// Refused: the file exists and is not to be replaced. The system's.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::refused(format!("{} is a folder", path.display())).hint("name a file in it"));
        }
        if !force && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        // Created for its owner alone.
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(parent(path));
        let file = file.map_err(|error| failed(path, "written", error))?;
        Ok(Self { path: path.to_owned(), force, file: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    /// Writes `beginning` over what the file begins with.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn rewrite(&mut self, beginning: &[u8]) -> Result<()> {
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(beginning));
        written.map_err(|error| failed(&self.path, "written", error))
    }

    /// Gives the file its name; its length.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub(super) fn finish(self) -> Result<u64> {
        let Self { path, force, file } = self;
        let file = file.into_inner().map_err(|error| failed(&path, "written", error.into_error()))?;
        let synced = file.as_file().sync_all().and_then(|()| file.as_file().metadata());
        let bytes = synced.map_err(|error| failed(&path, "written", error))?.len();
        let named = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
        named.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&path),
            _ => failed(&path, "written", error.error),
        })?;
        sync_folder(parent(&path))?;
        Ok(bytes)
    }
}

impl Write for OutputFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| failed(path, "synced", error))
}

/// A folder in the making.
pub(super) struct OutputFolder {
    path: PathBuf,
    force: bool,
    folder: TempDir,
}

impl OutputFolder {
    /// # Errors
    /// Refused: the folder exists and is not to be replaced, or holds what no export has. The system's.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        let path: PathBuf = path.components().collect();
        check_folder(&path, force)?;
        let folder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent(&path));
        let folder = folder.map_err(|error| failed(&path, "written", error))?;
        Ok(Self { path, force, folder })
    }

    /// Opens a new file of the folder.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(&self, name: &str) -> io::Result<Box<dyn FileWriter>> {
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(self.folder.path().join(name))?;
        Ok(Box::new(FolderFile(BufWriter::with_capacity(BUFFER_BYTES, file))))
    }

    /// Gives the folder its name; the length of its files.
    ///
    /// # Errors
    /// As [`OutputFolder::create`].
    pub(super) fn finish(self) -> Result<u64> {
        let Self { path, force, folder } = self;
        sync_folder(folder.path())?;
        let bytes = length_of_files(folder.path()).map_err(|error| failed(&path, "written", error))?;
        check_folder(&path, force)?;
        // What is replaced goes out of the way first, and back if the new one cannot take its place.
        let mut replaced = None;
        if path.symlink_metadata().is_ok() {
            let aside = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent(&path));
            let aside = aside.map_err(|error| failed(&path, "replaced", error))?;
            let old = aside.path().join("old");
            fs::rename(&path, &old).map_err(|error| failed(&path, "replaced", error))?;
            replaced = Some((aside, old));
        }
        if let Err(error) = fs::rename(folder.path(), &path) {
            if let Some((_, old)) = &replaced {
                let _ = fs::rename(old, &path);
            }
            return Err(failed(&path, "written", error));
        }
        // It has moved: nothing is left to remove.
        let _ = folder.keep();
        sync_folder(parent(&path))?;
        Ok(bytes)
    }
}

fn length_of_files(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(folder)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}

/// Replaced is only what an export has made, or nothing.
fn check_folder(path: &Path, force: bool) -> Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !force {
        return Err(exists(path));
    }
    if !found.is_dir() {
        return Err(Error::refused(format!("{} is no folder", path.display()))
            .hint("remove it, or choose another name"));
    }
    for file in fs::read_dir(path).map_err(|error| failed(path, "read", error))? {
        let file = file.map_err(|error| failed(path, "read", error))?;
        let name = file.file_name().to_string_lossy().into_owned();
        let is_file = file.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !is_exported(&name) {
            return Err(Error::refused(format!("{} holds {name:?}, which no export makes", path.display()))
                .why("--force replaces earlier exports and nothing else")
                .hint("remove it, or choose another name"));
        }
    }
    Ok(())
}

/// Whether a file of a folder may be an export's.
fn is_exported(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let number = name.strip_suffix(".dat").map(|name| name.strip_prefix("blob_").unwrap_or(name));
    let is_number =
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_number || name == "toc.dat" || name == "blobs.toc" || name.ends_with(".csv")
}

struct FolderFile(BufWriter<File>);

impl Write for FolderFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl FileWriter for FolderFile {
    fn close(self: Box<Self>) -> io::Result<()> {
        self.0.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn written(path: &Path, content: &[u8], force: bool) -> Result<u64> {
        let mut file = OutputFile::create(path, force)?;
        file.write_all(content).unwrap();
        file.finish()
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_replaces_nothing_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dump");
        let mut begun = OutputFile::create(&path, false).unwrap();
        begun.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(begun);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        assert_eq!(written(&path, b"one", false).unwrap(), 3);
        assert_eq!(written(&path, b"two", false).unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        written(&path, b"three", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
    }

    #[test]
    fn a_file_that_came_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dump");
        let begun = OutputFile::create(&path, false).unwrap();
        fs::write(&path, "another's").unwrap();
        assert_eq!(begun.finish().unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(fs::read(&path).unwrap(), b"another's");
    }

    #[test]
    fn a_folder_is_replaced_only_if_an_export_made_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("dump");
        let write = |name: &str, force| {
            let folder = OutputFolder::create(&path, force)?;
            folder.open(name).unwrap().close().unwrap();
            folder.finish()
        };
        write("toc.dat", false).unwrap();
        assert_eq!(write("1.dat.gz", false).unwrap_err().kind(), ErrorKind::Refused);
        write("1.dat.gz", true).unwrap();
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["1.dat.gz"]);
        fs::write(path.join("letter.txt"), "").unwrap();
        assert_eq!(write("toc.dat", true).unwrap_err().kind(), ErrorKind::Refused);
        assert!(path.join("letter.txt").exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
