//! The library inside the command, and the place on disk that `LD_PRELOAD` can name.
//!
//! A library that programs load is code that runs as their user, so every directory on the way must
//! belong to that user or to root, and its content is compared with ours before each use.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::bail;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// The library, as linked when this command was built.
pub static LIBRARY: &[u8] = include_bytes!(env!("HOTPATCH_LIBRARY"));
/// The hook of `hotpatch trace`.
static TRACE: &[u8] = include_bytes!(env!("HOTPATCH_TRACE"));
/// A hash of both, so that commands of several versions do not overwrite each other's.
const HASH: &str = env!("HOTPATCH_LIBRARY_HASH");

/// Why a place cannot hold the library.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    System(#[from] Errno),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("LD_PRELOAD cannot name a path with a space, a colon or a dollar sign")]
    Unspeakable,
    #[error("not an absolute path")]
    Relative,
    #[error("{} belongs to somebody else", .0.display())]
    Foreign(PathBuf),
    #[error("{} can be written by others", .0.display())]
    Open(PathBuf),
    #[error("mounted noexec")]
    NoExec,
}

/// A directory that may hold the library: `base`, which must exist, and what to create below it.
struct Place {
    base: PathBuf,
    below: Vec<String>,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.below
            .iter()
            .fold(self.base.clone(), |path, name| path.join(name))
    }
}

/// A directory that is ours alone to write.
#[derive(Debug)]
pub struct Private {
    dir: OwnedFd,
    /// Its path, free of symbolic links.
    pub path: PathBuf,
}

/// The path of the library, which is there and complete when this returns.
pub fn library() -> anyhow::Result<PathBuf> {
    Ok(prepare()?.path.join(file_name()))
}

/// The first directory that can hold the library, with the library in it.
pub fn prepare() -> anyhow::Result<Private> {
    let mut refused = String::new();
    for place in places() {
        let provided = open(&place).and_then(|private| {
            provide(&private, &file_name(), LIBRARY)?;
            Ok(private)
        });
        match provided {
            Ok(private) => return Ok(private),
            Err(why) => refused.push_str(&format!("\n  {}: {why}", place.path().display())),
        }
    }
    bail!("no place for the library; set XDG_CACHE_HOME to a directory of your own{refused}")
}

/// The library's name in that directory.
pub fn file_name() -> String {
    format!("libhotpatch-{HASH}.so")
}

fn places() -> Vec<Place> {
    let base = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let below = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut places = Vec::new();
    if let Some(cache) = base("XDG_CACHE_HOME") {
        let (parent, name) = (
            cache.parent(),
            cache.file_name().and_then(|name| name.to_str()),
        );
        places.push(match (parent, name) {
            (Some(parent), Some(name)) if !cache.exists() => Place {
                base: parent.to_owned(),
                below: below(&[name, "hotpatch"]),
            },
            _ => Place {
                base: cache,
                below: below(&["hotpatch"]),
            },
        });
    }
    if let Some(home) = base("HOME") {
        places.push(Place {
            base: home,
            below: below(&[".cache", "hotpatch"]),
        });
    }
    places.push(Place {
        base: "/tmp".into(),
        below: vec![format!("hotpatch-{}", geteuid())],
    });
    places
}

/// Opens a place, creating what is missing, and looks at each directory on the way from the root.
fn open(place: &Place) -> Result<Private, Unusable> {
    if !place.base.is_absolute() {
        return Err(Unusable::Relative);
    }
    let mut below = place.below.iter();
    let mut path = std::fs::canonicalize(&place.base)?;
    let mut dir = walk(&path)?;
    while let Some(name) = below.next() {
        let last = below.len() == 0;
        // A cache directory may be a link to another disk; the last one is ours and never a link.
        if !last && let Ok(real) = std::fs::canonicalize(path.join(name)) {
            path = real;
            dir = walk(&path)?;
            continue;
        }
        create(&dir, name)?;
        path.push(name);
        dir = enter(&dir, name, &path)?;
    }
    let stat = fstat(&dir)?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(Unusable::Foreign(path));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Unusable::Open(path));
    }
    if fstatvfs(&dir)?.flags().contains(FsFlags::ST_NOEXEC) {
        return Err(Unusable::NoExec);
    }
    if !can_be_preloaded(&path) {
        return Err(Unusable::Unspeakable);
    }
    Ok(Private { dir, path })
}

/// Whether `LD_PRELOAD` can name `path`: glibc and musl split the variable at spaces and colons and
/// have no way to quote; glibc expands `$ORIGIN` and the like.
fn can_be_preloaded(path: &Path) -> bool {
    !path
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| byte.is_ascii_whitespace() || b":$".contains(byte))
}

/// Opens `path` from the root on; `path` holds no symbolic link.
fn walk(path: &Path) -> Result<OwnedFd, Unusable> {
    let root = File::open("/")?;
    let owner_of_root = fstat(&root)?.st_uid;
    let mut dir = OwnedFd::from(root);
    let mut so_far = PathBuf::from("/");
    for component in path.components() {
        if let Component::Normal(name) = component {
            so_far.push(name);
            dir = enter(&dir, name, &so_far)?;
        }
        trusted(&fstat(&dir)?, owner_of_root, &so_far)?;
    }
    Ok(dir)
}

/// Whether nobody but us and root can exchange what lies in this directory.
///
/// Who owns `/` counts as root: in a user namespace that is not always 0.
fn trusted(stat: &FileStat, owner_of_root: u32, path: &Path) -> Result<(), Unusable> {
    if ![0, owner_of_root, geteuid().as_raw()].contains(&stat.st_uid) {
        return Err(Unusable::Foreign(path.to_owned()));
    }
    // In a sticky directory such as /tmp nobody can rename or remove what is not his own.
    if stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0 {
        return Err(Unusable::Open(path.to_owned()));
    }
    Ok(())
}

fn create(dir: &OwnedFd, name: &str) -> Result<(), Unusable> {
    match mkdirat(dir, name, Mode::S_IRWXU) {
        // The umask may have taken bits away.
        Ok(()) => Ok(
            fchmodat(dir, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink).or_else(
                |errno| {
                    if errno == Errno::EOPNOTSUPP {
                        Ok(())
                    } else {
                        Err(errno)
                    }
                },
            )?,
        ),
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn enter(
    dir: &OwnedFd,
    name: impl AsRef<std::ffi::OsStr>,
    path: &Path,
) -> Result<OwnedFd, Unusable> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(dir, name.as_ref(), flags, Mode::empty()).map_err(|errno| match errno {
        Errno::ENOTDIR | Errno::ELOOP => Unusable::Foreign(path.to_owned()),
        errno => errno.into(),
    })
}

/// The hook of `hotpatch trace`, in `private`: its path.
pub fn trace_hook(private: &Private) -> anyhow::Result<PathBuf> {
    let name = format!("hotpatch-trace-{HASH}.so");
    provide(private, &name, TRACE)?;
    Ok(private.path.join(name))
}

/// What `hotpatch gdb` tells gdb, in `private`: its path.
pub fn gdb_script(private: &Private, script: &str) -> anyhow::Result<PathBuf> {
    let name = format!("hotpatch-gdb-{HASH}.py");
    provide(private, &name, script.as_bytes())?;
    Ok(private.path.join(name))
}

/// Sees to it that `name` is in `private`, complete.
fn provide(private: &Private, name: &str, content: &[u8]) -> Result<(), Unusable> {
    if is_ours(private, name, content).unwrap_or(false) {
        return Ok(());
    }
    let temporary = format!(".{name}.{}", std::process::id());
    let written = write(private, &temporary, content).and_then(|()| {
        // A rename is seen whole or not at all, by however many commands start at once. What was
        // there may be mapped by running programs: it is replaced, never written over.
        Ok(renameat(
            &private.dir,
            temporary.as_str(),
            &private.dir,
            name,
        )?)
    });
    if written.is_err() {
        let _ = unlinkat(&private.dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    written
}

fn write(private: &Private, name: &str, content: &[u8]) -> Result<(), Unusable> {
    // Left by a process of the same number that was killed while it wrote.
    let _ = unlinkat(&private.dir, name, UnlinkatFlags::NoRemoveDir);
    let flags =
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(
        &private.dir,
        name,
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )?);
    file.write_all(content)?;
    // Programs that give up their user's rights still load it.
    fchmod(file.as_fd(), Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH)?;
    Ok(())
}

/// Whether the file of that name is ours, and byte for byte `content`.
fn is_ours(private: &Private, name: &str, content: &[u8]) -> Result<bool, Unusable> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(&private.dir, name, flags, Mode::empty())?);
    let stat = fstat(&file)?;
    let regular = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    let unshared = stat.st_mode & 0o022 == 0 && stat.st_uid == geteuid().as_raw();
    if !regular || !unshared || u64::try_from(stat.st_size).ok() != Some(content.len() as u64) {
        return Ok(false);
    }
    // Piece by piece: memory for all of it would cost more than the comparison.
    let mut piece = [0; 32 << 10];
    let mut left = content;
    loop {
        let found = match file.read(&mut piece) {
            Ok(count) => piece.get(..count).unwrap_or(&[]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        match left.strip_prefix(found) {
            Some([]) if found.is_empty() => return Ok(true),
            Some(_) if found.is_empty() => return Ok(false),
            Some(rest) => left = rest,
            None => return Ok(false),
        }
    }
}

impl Private {
    /// A new empty file in it that only its owner can read: its path.
    pub fn new_file(&self, name: &str) -> io::Result<PathBuf> {
        let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_ld_preload_cannot_name() {
        assert!(can_be_preloaded(Path::new("/home/ä/.cache/hotpatch")));
        for bad in ["/a b", "/a:b", "/a\tb", "/$ORIGIN"] {
            assert!(!can_be_preloaded(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_trusted() {
        let mut stat = fstat(File::open("/").unwrap()).unwrap();
        stat.st_uid = 4242;
        stat.st_mode = 0o40755;
        assert!(matches!(
            trusted(&stat, 0, Path::new("/x")),
            Err(Unusable::Foreign(_))
        ));
        assert!(trusted(&stat, 4242, Path::new("/x")).is_ok());
        stat.st_uid = 0;
        stat.st_mode = 0o40777;
        assert!(matches!(
            trusted(&stat, 0, Path::new("/x")),
            Err(Unusable::Open(_))
        ));
        stat.st_mode = 0o41777;
        assert!(trusted(&stat, 0, Path::new("/x")).is_ok());
    }
}
