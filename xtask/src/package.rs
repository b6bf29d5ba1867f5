//! `cargo xtask package`: what the release build left, as a package for Debian and its relatives.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Where Debian keeps libraries of this architecture.
const LIB: &str = "usr/lib/x86_64-linux-gnu";

/// Packs what `cargo xtask build` has left in `release`; answers where the package is.
///
/// # Errors
/// Files that cannot be read or written, and what dpkg-deb says.
pub fn package(workspace: &Path, release: &Path) -> anyhow::Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    let tree = release.join("package");
    let _ = fs::remove_dir_all(&tree);
    let hotpatch = release.join("hotpatch");
    let copy = |from: &Path, to: &str, mode: u32| put(&tree, to, &fs::read(from)?, mode);
    copy(&hotpatch, "usr/bin/hotpatch", 0o755)?;
    copy(
        &release.join("libhotpatch.so"),
        &format!("{LIB}/libhotpatch.so"),
        0o644,
    )?;
    copy(
        &workspace.join("include/hotpatch.h"),
        "usr/include/hotpatch.h",
        0o644,
    )?;
    let pc = format!(
        "prefix=/usr\nlibdir=${{prefix}}/{}\nincludedir=${{prefix}}/include\n\n\
         Name: hotpatch\nDescription: Hooks in place of a program's system calls\nVersion: {version}\n\
         Cflags: -I${{includedir}} -fPIC -ffreestanding -fno-stack-protector -mgeneral-regs-only\n\
         Libs: -shared -nostdlib -Wl,-z,defs -Wl,-z,now\n",
        LIB.trim_start_matches("usr/")
    );
    put(
        &tree,
        &format!("{LIB}/pkgconfig/hotpatch.pc"),
        pc.as_bytes(),
        0o644,
    )?;
    for (shell, path) in [
        ("bash", "usr/share/bash-completion/completions/hotpatch"),
        ("zsh", "usr/share/zsh/vendor-completions/_hotpatch"),
        ("fish", "usr/share/fish/vendor_completions.d/hotpatch.fish"),
    ] {
        put(
            &tree,
            path,
            &said(&hotpatch, &["completions", shell])?,
            0o644,
        )?;
    }
    let script = said(&hotpatch, &["gdb", "--script"])?;
    let auto_load = format!("usr/share/gdb/auto-load/{LIB}/libhotpatch.so-gdb.py");
    put(&tree, &auto_load, &script, 0o644)?;
    pages(&tree, &hotpatch)?;
    documents(workspace, &tree)?;
    control(&tree, &fs::read(&hotpatch)?)?;
    let deb = release.join(format!("hotpatch_{version}_amd64.deb"));
    // The same tree gives the same package, whenever it is made.
    let status = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "--build"])
        .args([&tree, &deb])
        .env("SOURCE_DATE_EPOCH", "0")
        .stdout(Stdio::null())
        .status()
        .context("dpkg-deb")?;
    ensure!(status.success(), "dpkg-deb made no package");
    fs::remove_dir_all(&tree)?;
    Ok(deb)
}

/// Writes a file of the package.
fn put(tree: &Path, to: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let to = tree.join(to);
    let directory = to.parent().unwrap_or(tree);
    fs::create_dir_all(directory)?;
    // Whatever the umask says.
    let ways = directory
        .ancestors()
        .take_while(|way| way.starts_with(tree));
    for way in ways {
        fs::set_permissions(way, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(&to, bytes).with_context(|| to.display().to_string())?;
    fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// What a command prints.
fn said(program: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(program).args(args).output()?;
    ensure!(output.status.success(), "{} {args:?}", program.display());
    Ok(output.stdout)
}

/// `bytes` as gzip writes them, without a name or a time.
fn zipped(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut gzip = Command::new("gzip")
        .args(["-9", "-n", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("gzip")?;
    let mut to = gzip.stdin.take().context("gzip's input")?;
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || to.write_all(&bytes));
    let output = gzip.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("gzip"))??;
    ensure!(output.status.success(), "gzip failed");
    Ok(output.stdout)
}

/// The manual's pages.
fn pages(tree: &Path, hotpatch: &Path) -> anyhow::Result<()> {
    let pages = tree.join("pages");
    let path = pages.to_str().context("a path in UTF-8")?;
    said(hotpatch, &["man", path])?;
    for page in fs::read_dir(&pages)? {
        let page = page?;
        let to = format!("usr/share/man/man1/{}.gz", page.file_name().display());
        put(tree, &to, &zipped(&fs::read(page.path())?)?, 0o644)?;
    }
    fs::remove_dir_all(&pages)?;
    Ok(())
}

/// Licences, changes, and what there is to read.
fn documents(workspace: &Path, tree: &Path) -> anyhow::Result<()> {
    let docs = "usr/share/doc/hotpatch";
    let read = |name: &str| fs::read(workspace.join(name)).with_context(|| name.to_owned());
    let mut copyright = b"MIT OR Apache-2.0, at your choice.\n\n".to_vec();
    copyright.extend(read("LICENSE-MIT")?);
    copyright.extend(
        b"\n\nThe Apache licence, version 2.0, is in /usr/share/common-licenses/Apache-2.0.\n",
    );
    put(tree, &format!("{docs}/copyright"), &copyright, 0o644)?;
    put(
        tree,
        &format!("{docs}/changelog.gz"),
        &zipped(&read("CHANGELOG.md")?)?,
        0o644,
    )?;
    for name in ["README.md", "DESIGN.md", "LIMITS.md", "SECURITY.md"] {
        put(tree, &format!("{docs}/{name}"), &read(name)?, 0o644)?;
    }
    for page in fs::read_dir(workspace.join("docs"))? {
        let page = page?;
        if page.path().extension().is_some_and(|kind| kind == "md") {
            let to = format!("{docs}/docs/{}", page.file_name().display());
            put(tree, &to, &fs::read(page.path())?, 0o644)?;
        }
    }
    Ok(())
}

/// What dpkg is told.
fn control(tree: &Path, command: &[u8]) -> anyhow::Result<()> {
    let text = format!(
        "Package: hotpatch\nVersion: {}\nArchitecture: amd64\nMaintainer: the libhotpatch authors <hotpatch@localhost>\n\
         Section: devel\nPriority: optional\nDepends: libc6 (>= {}), libgcc-s1\n\
         Suggests: gdb, rustup, gcc\n\
         Description: run, trace and hook programs with their system calls patched\n \
         Each system call instruction of a program becomes a jump to a trampoline\n \
         while the program starts: no kernel module, no privileges, no recompilation.\n \
         Contains the command hotpatch, libhotpatch.so and the header to write hooks.\n",
        env!("CARGO_PKG_VERSION"),
        newest_libc(command).context("the command names no version of libc")?
    );
    put(tree, "DEBIAN/control", text.as_bytes(), 0o644)
}

/// The newest version of glibc that a program names.
fn newest_libc(program: &[u8]) -> Option<String> {
    let names = memchr::memmem::find_iter(program, b"GLIBC_2.");
    let minor = names.filter_map(|at| {
        let digits = program[at + 8..].iter().take_while(|b| b.is_ascii_digit());
        let digits: Vec<u8> = digits.copied().collect();
        String::from_utf8(digits).ok()?.parse::<u32>().ok()
    });
    Some(format!("2.{}", minor.max()?))
}
