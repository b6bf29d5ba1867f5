//! Starts with kept plans, by the library as it is delivered.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime");
        hotpatch_link::build(&hotpatch_link::Options {
            workspace,
            target_dir,
        })
        .unwrap_or_else(|e| panic!("{e}"))
    })
}

/// A directory of a test's own, gone when the test is over.
struct Scene {
    dir: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Scene {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("hotpatch-kept-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn plans(&self) -> PathBuf {
        self.dir.join("plans")
    }

    /// One process, patched by `library`, after `setup`.
    fn start_after(&self, library: &Path, line: &str, setup: impl FnOnce(&mut Command)) -> Ran {
        let (log, report) = (self.dir.join("log"), self.dir.join("report"));
        for path in [&log, &report] {
            // Made here, for everyone: the program may be another user.
            let file = fs::File::create(path).unwrap();
            file.set_permissions(fs::Permissions::from_mode(0o666))
                .unwrap();
        }
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .env("LD_PRELOAD", library)
            .env("LIBHOTPATCH_CACHE", self.plans())
            .env("LIBHOTPATCH_LOGPATH", &log)
            .env("LIBHOTPATCH_REPORT", &report);
        setup(&mut command);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            success: output.status.success(),
            out: text(output.stdout),
            err: text(output.stderr),
            log: fs::read_to_string(&log).unwrap(),
            report: fs::read_to_string(&report).unwrap(),
        }
    }

    fn start_by(&self, library: &Path, line: &str, tactics: &str) -> Ran {
        self.start_after(library, line, |command| {
            command.env("LIBHOTPATCH_TACTICS", tactics);
        })
    }

    fn start(&self, line: &str) -> Ran {
        self.start_by(library(), line, "")
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.plans()).map_or(Vec::new(), Iterator::collect);
        let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        entries.into_iter().map(name).collect()
    }
}

struct Ran {
    success: bool,
    out: String,
    err: String,
    log: String,
    report: String,
}

impl Ran {
    /// What the report says of each site, without what differs from start to start.
    fn sites(&self) -> Vec<String> {
        let sites = self
            .report
            .lines()
            .filter(|l| l.contains(r#""event":"site""#));
        let without_pid = sites.map(|l| l[l.find(r#""path""#).unwrap()..].to_owned());
        without_pid.collect()
    }

    /// The log's lines of files, without times.
    fn counts(&self) -> Vec<String> {
        let files = self.log.lines().filter(|l| l.contains(" sites"));
        let counts = files.map(|l| l.split(';').next().unwrap());
        counts
            .map(|l| l[l.find("]: ").unwrap()..].to_owned())
            .collect()
    }

    fn used_the_cache(&self) -> bool {
        self.log.contains("plan from the cache")
    }

    fn is_fine(&self) {
        assert!(
            self.success && self.err.is_empty(),
            "{}{}",
            self.err,
            self.log
        );
        assert!(self.counts().len() > 2, "{}", self.log);
    }
}

#[test]
fn a_kept_plan_does_what_the_new_one_did() {
    for tactics in [
        "",
        "LIBHOTPATCH_TACTICS=clobber,evict",
        "LIBHOTPATCH_TACTICS=stone",
    ] {
        let scene = Scene::new("same");
        let start = || scene.start_by(library(), "/bin/ls -d /", tactics);
        let (cold, warm) = (start(), start());
        cold.is_fine();
        warm.is_fine();
        assert!(warm.used_the_cache() && warm.log.matches("plan from the cache").count() > 3);
        assert_eq!(cold.out, warm.out);
        assert!(cold.sites().len() > 500);
        assert_eq!(cold.sites(), warm.sites());
        assert_eq!(cold.counts(), warm.counts());
    }
}

#[test]
fn a_mangled_cache_costs_its_plans_alone() {
    let scene = Scene::new("mangled");
    let cold = scene.start("/bin/true");
    for mangle in [
        |bytes: &mut Vec<u8>| bytes.truncate(100),
        |bytes: &mut Vec<u8>| bytes.clear(),
        |bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|b| *b = !*b),
        |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1,
        |bytes: &mut Vec<u8>| bytes.resize(1 << 20, 0),
    ] {
        for name in scene.files() {
            let path = scene.plans().join(name);
            let mut bytes = fs::read(&path).unwrap();
            mangle(&mut bytes);
            fs::write(&path, bytes).unwrap();
        }
        let mangled = scene.start("/bin/true");
        mangled.is_fine();
        assert!(!mangled.used_the_cache());
        assert_eq!(mangled.sites(), cold.sites());
        assert!(
            scene.start("/bin/true").used_the_cache(),
            "they are replaced"
        );
    }
}

#[test]
fn each_build_of_the_library_has_plans_of_its_own() {
    let scene = Scene::new("builds");
    scene.start("/bin/true").is_fine();
    let mut bytes = fs::read(library()).unwrap();
    // The build id follows the header and the name of its note.
    let note = bytes
        .windows(8)
        .position(|w| w == b"\x03\0\0\0GNU\0")
        .unwrap();
    bytes[note + 8] ^= 1;
    let other = scene.dir.join("other.so");
    fs::write(&other, bytes).unwrap();
    let first = scene.start_by(&other, "/bin/true", "");
    first.is_fine();
    assert!(!first.used_the_cache());
    assert!(scene.start_by(&other, "/bin/true", "").used_the_cache());
    assert!(scene.start("/bin/true").used_the_cache());
}

#[test]
fn what_cannot_be_kept_is_not_and_nobody_notices() {
    for (name, setup) in [
        ("no-size", "ulimit -f 0"),
        ("small", "ulimit -f 1"),
        ("few-files", "ulimit -n 4"),
        ("no-place", "export LIBHOTPATCH_CACHE=/nonexistent/a/b"),
        ("no-directory", "export LIBHOTPATCH_CACHE=/proc/self/plans"),
        ("a-file", "export LIBHOTPATCH_CACHE=/etc/passwd"),
        ("a-device", "export LIBHOTPATCH_CACHE=/dev/full"),
        ("everybodys", "export LIBHOTPATCH_CACHE=/tmp"),
        ("off", "export LIBHOTPATCH_CACHE=off"),
        ("no-home", "unset LIBHOTPATCH_CACHE HOME XDG_CACHE_HOME"),
        (
            "strange-home",
            "unset LIBHOTPATCH_CACHE XDG_CACHE_HOME; HOME=/proc",
        ),
    ] {
        let scene = Scene::new(name);
        // The shell itself is not patched: the limit stands when the program starts.
        let library = library().display();
        let script = format!("{setup}; LD_PRELOAD={library} exec /bin/true");
        let output = Command::new("/bin/sh")
            .args(["-c", &script])
            .env("LIBHOTPATCH_CACHE", scene.plans())
            .env("LIBHOTPATCH_LOGPATH", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{name}: {output:?}"
        );
        let left = scene.files();
        assert!(
            left.iter().all(|file| file.ends_with(".plan")),
            "{name}: {left:?}"
        );
        for file in left {
            assert_ne!(
                fs::metadata(scene.plans().join(file)).unwrap().len(),
                0,
                "{name}"
            );
        }
    }
}

#[test]
fn many_starts_at_once_share_it() {
    let scene = Scene::new("many");
    let starts: Vec<_> = (0..24)
        .map(|_| {
            Command::new("/bin/true")
                .env("LD_PRELOAD", library())
                .env("LIBHOTPATCH_CACHE", scene.plans())
                .env("LIBHOTPATCH_LOGPATH", "/dev/null")
                .spawn()
                .unwrap()
        })
        .collect();
    for mut start in starts {
        assert!(start.wait().unwrap().success());
    }
    let files = scene.files();
    assert!(
        files.len() >= 3 && files.iter().all(|f| f.ends_with(".plan")),
        "{files:?}"
    );
    let warm = scene.start("/bin/true");
    warm.is_fine();
    assert!(warm.used_the_cache());
}

#[test]
fn no_descriptor_is_left() {
    let scene = Scene::new("descriptors");
    let native = Command::new("/bin/ls")
        .arg("/proc/self/fd")
        .output()
        .unwrap();
    for _ in 0..2 {
        let ran = scene.start("/bin/ls /proc/self/fd");
        ran.is_fine();
        assert_eq!(ran.out.as_bytes(), native.stdout);
    }
}

#[test]
fn a_new_file_is_not_kept_before_it_has_settled() {
    let scene = Scene::new("settled");
    let program = scene.dir.join("program");
    fs::copy("/bin/true", &program).unwrap();
    let script = program.display().to_string();
    let kept = |ran: Ran| {
        let line = ran
            .log
            .lines()
            .find(|l| l.contains("/program:"))
            .map(str::to_owned);
        line.unwrap().contains("plan from the cache")
    };
    assert!(!kept(scene.start(&script)) && !kept(scene.start(&script)));
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert!(!kept(scene.start(&script)));
    assert!(kept(scene.start(&script)));
    // Another state of the same file.
    let status = fs::metadata(&program).unwrap().permissions();
    fs::set_permissions(&program, status).unwrap();
    assert!(!kept(scene.start(&script)));
}

/// Everything is allowed; but whoever is confined so far may be confined further.
fn confine() -> std::io::Result<()> {
    let allow = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: allow.as_ptr().cast_mut(),
    };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: changes this process alone.
    let mut done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the same, and reads `program`.
    done |= unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    if done == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

#[test]
fn a_confined_program_reads_but_keeps_nothing() {
    let scene = Scene::new("confined");
    let confined = || {
        let setup = |command: &mut Command| {
            // SAFETY: it makes two system calls.
            unsafe { command.pre_exec(confine) };
        };
        scene.start_after(library(), "/bin/true", setup)
    };
    let cold = confined();
    cold.is_fine();
    assert!(!cold.used_the_cache() && !scene.plans().exists());
    scene.start("/bin/true").is_fine();
    let warm = confined();
    warm.is_fine();
    assert!(warm.used_the_cache());
}

#[test]
fn each_user_has_plans_of_his_own() {
    // Others than root cannot become somebody else: for them these are three starts of one user.
    // SAFETY: reads no memory.
    let is_root = unsafe { libc::geteuid() } == 0;
    let scene = Scene::new("users");
    let library = scene.dir.join("library.so");
    fs::copy(crate::library(), &library).unwrap();
    scene.start_by(&library, "/bin/true", "").is_fine();
    let files = scene.files();
    fs::set_permissions(scene.plans(), fs::Permissions::from_mode(0o755)).unwrap();
    for file in &files {
        fs::set_permissions(scene.plans().join(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let nobody = |command: &mut Command| {
        if is_root {
            command.uid(65534).gid(65534);
        }
    };
    let foreign = scene.start_after(&library, "/bin/true", nobody);
    foreign.is_fine();
    assert_eq!(foreign.used_the_cache(), !is_root);
    assert_eq!(scene.files().len(), files.len());
    // A directory of his own that he may not write to.
    let own = scene.dir.join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o500)).unwrap();
    if is_root {
        std::os::unix::fs::chown(&own, Some(65534), Some(65534)).unwrap();
    }
    let unwritable = scene.start_after(&library, "/bin/true", |command| {
        nobody(command);
        command.env("LIBHOTPATCH_CACHE", &own);
    });
    unwritable.is_fine();
    assert!(!unwritable.used_the_cache());
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
}
