use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::key::SETTLED;
use super::*;
use crate::maps;
use crate::patch::{self, Threads};
use hotpatch_plan::plan::Tactics;

const BUILD: &[u8] = b"0123456789abcdef";

/// A directory of a test's own, gone when the test is over.
struct Scene {
    dir: PathBuf,
    text: Vec<u8>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Scene {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("hotpatch-plans-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        mode(&dir, 0o755);
        Self {
            dir,
            text: fs::read("/proc/self/maps").unwrap(),
        }
    }

    fn place(&self) -> PathBuf {
        self.dir.join("plans")
    }

    fn cache(&self) -> Cache {
        self.cache_of(BUILD)
    }

    fn cache_of(&self, build: &[u8]) -> Cache {
        let place = self.place();
        let keep = Keep::In(place.as_os_str().as_bytes());
        Cache::open(&keep, &Environment::default(), Some(build))
    }

    /// What a start finds for libc, and the plan in it.
    fn look(&self, cache: &Cache) -> (Entry, Option<Plan>) {
        let maps = maps::parse(&self.text);
        let libc = libc(&maps);
        let question = patch::question(Tactics::ALL, Threads::One, None).unwrap();
        let entry = cache.entry(&libc, question, &maps).unwrap();
        let plan = entry.plan(&libc, &maps).map(|(_, plan)| plan);
        (entry, plan)
    }

    /// What a start without a kept plan does.
    fn fill(&self, cache: &mut Cache) -> Plan {
        let maps = maps::parse(&self.text);
        let libc = libc(&maps);
        let file = libc.open().unwrap();
        let loaded = object::load(&libc, Some(&file), &maps).unwrap();
        let fitting = patch::plan(&loaded, Tactics::ALL, Threads::One, &maps, None);
        assert!(fitting.general);
        let bytes = store::encode(&fitting.plan, &loaded.image).unwrap();
        let (entry, _) = self.look(cache);
        cache.keep(&entry, &bytes);
        fitting.plan
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place()).map_or(Vec::new(), Iterator::collect);
        let mut files: Vec<_> = entries.into_iter().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    }

    fn the_file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn libc<'m>(maps: &[Mapping<'m>]) -> Object<'m> {
    let named = |o: &Object<'_>| o.path().windows(7).any(|w| w == b"libc.so");
    object::objects(maps).into_iter().find(named).unwrap()
}

#[test]
fn the_second_start_finds_the_plan_of_the_first() {
    let scene = Scene::new("second");
    let mut first = scene.cache();
    assert!(scene.look(&first).1.is_none());
    let plan = scene.fill(&mut first);
    assert_eq!(scene.the_file().extension(), Some(OsStr::new("plan")));
    assert_eq!(scene.look(&scene.cache()).1, Some(plan));
    let status = fs::metadata(scene.place()).unwrap();
    assert_eq!(status.permissions().mode() & 0o777, 0o700);
}

#[test]
fn nothing_mangled_is_used() {
    let scene = Scene::new("mangled");
    let plan = scene.fill(&mut scene.cache());
    let file = scene.the_file();
    let whole = fs::read(&file).unwrap();
    let mut wrong: Vec<Vec<u8>> = [0, 1, 8, 16, HEADER - 1, HEADER, whole.len() - 1]
        .map(|len| whole[..len].to_vec())
        .into();
    wrong.extend((0..whole.len()).step_by(7).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    }));
    wrong.push(vec![0; whole.len()]);
    wrong.push([&whole[..], b"\0"].concat());
    wrong.push(vec![0x7f; 4 << 20]);
    for bytes in wrong {
        fs::write(&file, &bytes).unwrap();
        assert_eq!(scene.look(&scene.cache()).1, None, "{} bytes", bytes.len());
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(scene.look(&scene.cache()).1, Some(plan));
}

#[test]
fn a_plan_of_another_build_question_or_file_is_not_used() {
    let scene = Scene::new("other");
    scene.fill(&mut scene.cache());
    assert!(scene.look(&scene.cache_of(b"0123456789abcdeF")).1.is_none());
    let maps = maps::parse(&scene.text);
    let libc = libc(&maps);
    let stones = Tactics::parse("stone").unwrap();
    let question = patch::question(stones, Threads::One, None).unwrap();
    let entry = scene.cache().entry(&libc, question, &maps).unwrap();
    assert!(entry.plan(&libc, &maps).is_none());
    assert_eq!(patch::question(Tactics::ALL, Threads::Many, None), None);
    // The same file name, but another state of the file.
    let (mut entry, _) = scene.look(&scene.cache());
    entry.key.0[8] += 1;
    assert_eq!(entry.key.name(), scene.look(&scene.cache()).0.key.name());
    let path = CString::new(scene.the_file().as_os_str().as_bytes()).unwrap();
    assert_eq!(scene.cache().read(&path, &entry.key), None);
}

#[test]
fn a_file_that_others_could_have_written_is_not_used() {
    let scene = Scene::new("file");
    let plan = scene.fill(&mut scene.cache());
    let file = scene.the_file();
    for bad in [0o620, 0o602, 0o666] {
        mode(&file, bad);
        assert_eq!(scene.look(&scene.cache()).1, None, "{bad:o}");
    }
    mode(&file, 0o600);
    let other = scene.dir.join("other");
    fs::hard_link(&file, &other).unwrap();
    assert_eq!(scene.look(&scene.cache()).1, None, "two names");
    fs::remove_file(&file).unwrap();
    symlink(&other, &file).unwrap();
    assert_eq!(scene.look(&scene.cache()).1, None, "a link");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(scene.look(&scene.cache()).1, None, "a directory");
    fs::remove_dir(&file).unwrap();
    let name = CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: reads the name.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(scene.look(&scene.cache()).1, None, "a pipe");
    fs::remove_file(&file).unwrap();
    fs::rename(&other, &file).unwrap();
    assert_eq!(scene.look(&scene.cache()).1, Some(plan));
}

#[test]
fn a_directory_that_others_could_write_to_is_not_used() {
    let scene = Scene::new("directory");
    let plan = scene.fill(&mut scene.cache());
    let place = scene.place();
    for (path, bad) in [(&place, 0o770), (&place, 0o707), (&scene.dir, 0o777)] {
        mode(path, bad);
        let cache = scene.cache();
        assert!(!cache.is_there, "{} {bad:o}", path.display());
        mode(path, 0o755);
    }
    // Nobody can take away what lies in a sticky one.
    mode(&scene.dir, 0o1777);
    assert_eq!(scene.look(&scene.cache()).1, Some(plan));
    mode(&scene.dir, 0o755);
    let real = scene.dir.join("real");
    fs::rename(&place, &real).unwrap();
    symlink(&real, &place).unwrap();
    assert!(!scene.cache().is_there, "a link");
}

#[test]
fn what_belongs_to_somebody_else_is_not_used() {
    let scene = Scene::new("foreign");
    scene.fill(&mut scene.cache());
    let stranger = Cache {
        user: 4242,
        ..scene.cache()
    };
    let place = scene.place();
    let path = place.as_os_str().as_bytes();
    assert!(scene.cache().is_ours(path) && !stranger.is_ours(path));
    assert!(scene.look(&stranger).1.is_none());
}

#[test]
fn nothing_is_made_where_others_could_exchange_it() {
    let scene = Scene::new("make");
    mode(&scene.dir, 0o777);
    let mut cache = scene.cache();
    scene.fill(&mut cache);
    assert!(cache.closed && !scene.place().exists());
    mode(&scene.dir, 0o755);
    fs::write(scene.place(), "in the way").unwrap();
    let mut cache = scene.cache();
    scene.fill(&mut cache);
    assert!(cache.closed);
}

#[test]
fn a_file_that_changed_just_now_is_not_kept() {
    let scene = Scene::new("settled");
    let (entry, _) = scene.look(&scene.cache());
    let changed = entry.key.0[8].max(entry.key.0[10]);
    for (later, settled) in [(0, false), (SETTLED, false), (SETTLED + 1, true)] {
        assert_eq!(entry.key.is_settled(changed + later), settled);
    }
    assert!(
        !entry.key.is_settled(changed - 1000),
        "the clock was put back"
    );
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let scene = Scene::new("tidy");
    let mut cache = scene.cache();
    scene.fill(&mut cache);
    let newest = scene.the_file();
    let old = std::time::SystemTime::UNIX_EPOCH;
    let make = |name: String| {
        let file = fs::File::create(scene.place().join(name)).unwrap();
        file.set_modified(old).unwrap();
    };
    for n in 0..MOST as u64 - 1 {
        make(format!("{n:016x}.plan"));
    }
    for foreign in ["notes.txt", "x.plan", "0123456789abcdef.txt"] {
        make(foreign.to_owned());
    }
    cache.close();
    assert_eq!(scene.files().len(), MOST + 3);
    make(format!(".{:016x}.new", 7));
    let mut cache = scene.cache();
    scene.fill(&mut cache);
    cache.close();
    let files = scene.files();
    assert_eq!(files.len(), LEFT + 3);
    assert!(files.contains(&newest) && files.contains(&scene.place().join("notes.txt")));
}

#[test]
fn the_cache_lies_beside_the_library() {
    let environment = |variables| Environment {
        variables,
        ..Environment::default()
    };
    let path = |keep: Keep<'_>, e: &Environment<'_>| {
        place(&keep, e).map(|p| format!("{} {}", String::from_utf8(p.path).unwrap(), p.made))
    };
    let both = environment(vec![b"HOME=/home/a", b"XDG_CACHE_HOME=/var/c/"]);
    let home = environment(vec![b"HOME=/home/a", b"XDG_CACHE_HOME="]);
    let neither = environment(vec![b"HOME=", b"XDG_CACHE_HOME=relative"]);
    for (keep, environment, expected) in [
        (Keep::Usual, &both, Some("/var/c/hotpatch/plans 3")),
        (Keep::Usual, &home, Some("/home/a/.cache/hotpatch/plans 3")),
        (Keep::Usual, &neither, None),
        (Keep::In(b"/p/q"), &both, Some("/p/q 1")),
        (Keep::Nowhere, &both, None),
    ] {
        assert_eq!(path(keep, environment).as_deref(), expected);
    }
    assert!(
        Cache::open(&Keep::Usual, &both, Some(BUILD))
            .place
            .is_some()
    );
    assert!(Cache::open(&Keep::Usual, &both, None).place.is_none());
    let secure = Environment {
        secure: true,
        ..both
    };
    assert!(
        Cache::open(&Keep::Usual, &secure, Some(BUILD))
            .place
            .is_none()
    );
}

#[test]
fn the_vdso_is_known_by_its_bytes() {
    let scene = Scene::new("vdso");
    let maps = maps::parse(&scene.text);
    let all = object::objects(&maps);
    let vdso = all.iter().find(|o| o.base.name == b"[vdso]").unwrap();
    let question = patch::question(Tactics::ALL, Threads::One, None).unwrap();
    let mut cache = scene.cache();
    let entry = cache.entry(vdso, question, &maps).unwrap();
    let loaded = object::load(vdso, None, &maps).unwrap();
    let fitting = patch::plan(&loaded, Tactics::ALL, Threads::One, &maps, None);
    let bytes = store::encode(&fitting.plan, &loaded.image).unwrap();
    cache.keep(&entry, &bytes);
    let entry = scene.cache().entry(vdso, question, &maps).unwrap();
    let (_, plan) = entry.plan(vdso, &maps).unwrap();
    assert_eq!(plan, fitting.plan);
}
