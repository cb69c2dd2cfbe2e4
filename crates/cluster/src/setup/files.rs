//! Files whole or not at all: written beside their place, then renamed into it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::SetupError;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Whoever may read new files here.
    All,
    /// Its owner alone.
    Owner,
}

/// A folder that is being written. Dropped before it is committed, it is gone.
pub(super) struct Fresh {
    beside: PathBuf,
    files: Vec<PathBuf>,
    committed: bool,
}

impl Fresh {
    /// Begins to write what shall be this folder.
    ///
    /// # Errors
    /// [`SetupError::Left`] and [`SetupError::Io`]
    pub(super) fn create(folder: &Path) -> Result<Self, SetupError> {
        let beside = beside(folder);
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            create_folder(parent)?;
        }
        match fs::create_dir(&beside) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(SetupError::Left(beside)),
            created => created.map_err(SetupError::io(&beside))?,
        }
        Ok(Self { beside, files: Vec::new(), committed: false })
    }

    /// # Errors
    /// [`SetupError::Io`]
    pub(super) fn folder(&mut self, name: &str) -> Result<(), SetupError> {
        let path = self.beside.join(name);
        fs::create_dir(&path).map_err(SetupError::io(&path))
    }

    /// # Errors
    /// [`SetupError::Io`]
    pub(super) fn write(
        &mut self,
        name: impl AsRef<Path>,
        text: &str,
        readers: Readers,
    ) -> Result<(), SetupError> {
        write_new(&self.beside.join(&name), text, readers)?;
        self.files.push(name.as_ref().into());
        Ok(())
    }

    /// Puts the folder into its place, which is free or an empty folder, and says what it has.
    ///
    /// # Errors
    /// [`SetupError::Io`]
    pub(super) fn commit(mut self, place: &Path) -> Result<Vec<PathBuf>, SetupError> {
        let found = fs::metadata(place).ok().map(|found| found.permissions());
        let target = if found.is_some() {
            fs::canonicalize(place).map_err(SetupError::io(place))?
        } else {
            place.into()
        };
        if let Some(permissions) = found {
            fs::set_permissions(&self.beside, permissions).map_err(SetupError::io(place))?;
        }
        fs::rename(&self.beside, &target).map_err(SetupError::io(place))?;
        self.committed = true;
        sync_parent(&target)?;
        Ok(self.files.iter().map(|file| place.join(file)).collect())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_dir_all(&self.beside);
        }
    }
}

/// Files that are to take the place of others, all of them once all are on the disk.
#[derive(Default)]
pub(super) struct Replacements(Vec<(PathBuf, PathBuf)>);

impl Replacements {
    /// # Errors
    /// [`SetupError::Io`]; what it was to replace is there as before.
    pub(super) fn stage(&mut self, file: &Path, text: &str) -> Result<(), SetupError> {
        let beside = beside(file);
        match fs::remove_file(&beside) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(SetupError::io(&beside))?,
        }
        self.0.push((beside.clone(), file.into()));
        write_new(&beside, text, Readers::All)?;
        if let Ok(found) = fs::metadata(file) {
            fs::set_permissions(&beside, found.permissions()).map_err(SetupError::io(&beside))?;
        }
        Ok(())
    }

    /// Replaces the files in the order in which they were staged.
    ///
    /// # Errors
    /// [`SetupError::Io`]; files before the one it names are replaced.
    pub(super) fn commit(mut self) -> Result<Vec<PathBuf>, SetupError> {
        let staged = std::mem::take(&mut self.0);
        let mut replaced = Vec::with_capacity(staged.len());
        for (position, (beside, file)) in staged.iter().enumerate() {
            if let Err(error) = fs::rename(beside, file) {
                self.0 = staged[position..].to_vec();
                return Err(SetupError::io(file)(error));
            }
            sync_parent(file)?;
            replaced.push(file.clone());
        }
        Ok(replaced)
    }
}

impl Drop for Replacements {
    fn drop(&mut self) {
        for (beside, _) in &self.0 {
            let _ = fs::remove_file(beside);
        }
    }
}

/// Held while a cell is changed: one command at a time.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else changes the cell.
    ///
    /// # Errors
    /// [`SetupError::None`] where the folder does not have the file that it is known by, and
    /// [`SetupError::Io`]
    pub(super) fn take(folder: &Path, known_by: &str) -> Result<Self, SetupError> {
        let file = folder.join(known_by);
        if !file.exists() {
            return Err(SetupError::None { file });
        }
        let path = folder.join(".lock");
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let file = file.map_err(SetupError::io(&path))?;
        file.lock().map_err(SetupError::io(&path))?;
        Ok(Self { _file: file })
    }
}

/// Where a file or folder is written before it takes its place.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// # Errors
/// [`SetupError::Io`]
pub(super) fn create_folder(path: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(path).map_err(SetupError::io(path))
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// [`SetupError::Io`]
pub(super) fn remove_folder(path: &Path) -> Result<(), SetupError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(SetupError::io(path)),
    }
}

/// Removes a folder that has only these files, if it is there.
///
/// # Errors
/// [`SetupError::Io`]: it has others too.
pub(super) fn remove_files(folder: &Path, names: &[&str]) -> Result<(), SetupError> {
    for name in names {
        match fs::remove_file(folder.join(name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            removed => removed.map_err(SetupError::io(&folder.join(name)))?,
        }
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(SetupError::io(folder)),
    }
}

fn write_new(path: &Path, text: &str, readers: Readers) -> Result<(), SetupError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let write = || {
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(SetupError::io(path))
}

/// Makes sure that a name is on the disk too.
fn sync_parent(path: &Path) -> Result<(), SetupError> {
    #[cfg(unix)]
    {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(SetupError::io(parent))?;
    }
    Ok(())
}
