//! Writing output: files whole or not at all, and through whatever is no file.
//!
//! A regular file is written beside its place and renamed into it: readers see the old contents or the new
//! ones, never half of them, and a command that fails leaves what was there. The mode stays, and of a link
//! the file behind it is replaced. Devices, pipes and the standard streams are written to as they are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use atomic_write_file::AtomicWriteFile;

/// Output that is being written. It counts once it is [committed](Output::commit); dropped before, it
/// leaves a regular file as it was.
///
/// ```
/// use std::io::Write;
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("rows.csv");
/// let mut output = writing::Output::create(&file)?;
/// writeln!(output, "request,server")?;
/// assert!(!file.exists());
/// output.commit()?;
/// assert_eq!(std::fs::read_to_string(&file)?, "request,server\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Output(BufWriter<Sink>);

#[derive(Debug)]
enum Sink {
    /// Renamed into place in the end.
    Replaced(AtomicWriteFile),
    /// A device, a pipe or a standard stream.
    Through(File),
}

impl Output {
    /// Opens the output, so that what is in its way is found before the work whose result it takes. A named
    /// pipe is waited for, until somebody reads it or ten seconds are over.
    ///
    /// # Errors
    /// The system's: there is no such folder, it is a folder itself, or it may not be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let sink = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(found) => match standard_stream(&found) {
                Some(stream) => Sink::Through(stream),
                None if found.is_file() => replaced(path)?,
                None => Sink::Through(through(path, &found)?),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Sink::Replaced(AtomicWriteFile::open(behind_links(path)?)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Self(BufWriter::new(sink)))
    }

    /// Ends the output: a regular file is in its place once this returns, and on the disk.
    ///
    /// # Errors
    /// The system's; a regular file is then what it was.
    pub fn commit(self) -> io::Result<()> {
        match self.0.into_inner().map_err(io::IntoInnerError::into_error)? {
            Sink::Replaced(file) => file.commit(),
            Sink::Through(mut file) => file.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Replaced(file) => file.write(bytes),
            Self::Through(file) => file.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Replaced(file) => file.flush(),
            Self::Through(file) => file.flush(),
        }
    }
}

/// Writes all of an output.
///
/// # Errors
/// As [`Output::create`] and [`Output::commit`].
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let mut output = Output::create(path)?;
    output.write_all(contents.as_ref())?;
    output.commit()
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Whoever may read new files here.
    AsUsual,
    /// Its owner alone.
    Owner,
}

/// Writes all of a file that is not there yet: what is there, even a link that leads nowhere, stays.
///
/// # Errors
/// The system's; [`ErrorKind::AlreadyExists`] if something has the name.
pub fn create_new(path: &Path, contents: impl AsRef<[u8]>, readers: Readers) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    if readers == Readers::AsUsual {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(contents.as_ref())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

/// Creates a folder unless it is there, and makes sure that files can be written into it.
///
/// # Errors
/// The system's, or that something else has the folder's name.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
        let problem = "is no folder, and one is needed: name another or remove it";
        return Err(io::Error::new(ErrorKind::NotADirectory, problem));
    }
    fs::create_dir_all(path)?;
    AtomicWriteFile::open(path.join("probe"))?.discard()
}

/// A regular file that is there: renaming would pass over that it is write-protected.
fn replaced(path: &Path) -> io::Result<Sink> {
    let file = fs::canonicalize(path)?;
    drop(OpenOptions::new().write(true).open(&file)?);
    AtomicWriteFile::open(file).map(Sink::Replaced)
}

/// How long a named pipe may be without a reader.
pub(crate) const READER_PATIENCE: Duration = Duration::from_secs(10);

/// A device or a pipe. Opened as it is, a pipe that nobody reads would never be open.
#[cfg(unix)]
fn through(path: &Path, found: &fs::Metadata) -> io::Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let mut options = OpenOptions::new();
    options.write(true);
    if !found.file_type().is_fifo() {
        return options.open(path);
    }
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let end = Instant::now() + READER_PATIENCE;
    loop {
        match options.open(path) {
            Ok(file) => {
                // Only the opening was not to wait.
                fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
                return Ok(file);
            }
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                return Err(error);
            }
            Err(_) if Instant::now() >= end => {
                let seconds = READER_PATIENCE.as_secs();
                let problem = format!("is a pipe, and nobody has read it for {seconds} s");
                return Err(io::Error::new(ErrorKind::TimedOut, problem));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(not(unix))]
fn through(path: &Path, _: &fs::Metadata) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Where a file is created: links may lead to one that is not there yet.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            Ok(target) => place = place.parent().unwrap_or(Path::new("")).join(target),
            // What is no link is the place.
            Err(_) => return Ok(place),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Standard output or error, if the file is the one behind it. Opened anew, `/dev/stdout` of
/// `atelier … > file` would begin at the file's start and write over what the command prints.
#[cfg(unix)]
fn standard_stream(found: &fs::Metadata) -> Option<File> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    let (output, error) = (io::stdout(), io::stderr());
    [output.as_fd(), error.as_fd()].into_iter().find_map(|stream| {
        let stream = File::from(stream.try_clone_to_owned().ok()?);
        let metadata = stream.metadata().ok()?;
        (identity(&metadata) == identity(found)).then_some(stream)
    })
}

#[cfg(not(unix))]
fn standard_stream(_: &fs::Metadata) -> Option<File> {
    None
}
