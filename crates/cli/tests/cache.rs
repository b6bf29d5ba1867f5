//! The library's place on disk: who may write there, and what becomes of what others put there.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{Place, text};

/// The path `hotpatch lib` prints, which must exist.
fn lib(place: &Place) -> PathBuf {
    let output = place.output(&["lib"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = PathBuf::from(text(&output.stdout).trim_end());
    assert!(path.is_file(), "{path:?}");
    path
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn it_is_written_once_for_its_user_alone() {
    let place = Place::new();
    let path = lib(&place);
    assert_eq!(path.parent(), Some(&*place.cache()));
    assert_eq!((mode(&place.cache()), mode(&path)), (0o700, 0o444));
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(lib(&place), path);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "written twice");
    let entries = fs::read_dir(place.cache()).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
    names.retain(|name| name != "plans");
    assert_eq!(names.len(), 1, "something is left over: {names:?}");
}

#[test]
fn what_was_cut_short_or_changed_is_replaced() {
    let place = Place::new();
    let path = lib(&place);
    let good = fs::read(&path).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    for bad in [&good[..good.len() / 2], &changed[..], b""] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bad).unwrap();
        lib(&place);
        assert!(fs::read(&path).unwrap() == good);
        assert_eq!(mode(&path), 0o444);
    }
}

#[test]
fn a_library_that_others_can_write_is_replaced() {
    let place = Place::new();
    let path = lib(&place);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    lib(&place);
    assert_eq!(mode(&path), 0o444);
}

#[test]
fn a_link_in_place_of_the_library_is_replaced_and_its_target_left() {
    let place = Place::new();
    let path = lib(&place);
    let victim = place.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&victim, &path).unwrap();
    lib(&place);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

/// Runs `hotpatch lib` where the cache cannot be used: it must go elsewhere.
fn lib_elsewhere(place: &Place) {
    let home = tempfile::tempdir().unwrap();
    let output = place
        .hotpatch()
        .arg("lib")
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let home = home.path().canonicalize().unwrap().join(".cache/hotpatch");
    assert!(
        text(&output.stdout).starts_with(home.to_str().unwrap()),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_link_in_place_of_the_directory_is_not_followed() {
    let place = Place::new();
    let other = tempfile::tempdir().unwrap();
    symlink(other.path(), place.cache()).unwrap();
    lib_elsewhere(&place);
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_others_can_write_is_not_used() {
    let place = Place::new();
    fs::create_dir(place.cache()).unwrap();
    fs::set_permissions(place.cache(), fs::Permissions::from_mode(0o777)).unwrap();
    lib_elsewhere(&place);
    assert_eq!(fs::read_dir(place.cache()).unwrap().count(), 0);
}

#[test]
fn a_way_that_others_can_change_is_not_used() {
    let place = Place::new();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    lib_elsewhere(&place);
}

#[test]
fn a_path_that_ld_preload_cannot_name_is_not_used() {
    for name in ["with space", "with:colon", "$ORIGIN"] {
        let place = Place {
            dir: tempfile::Builder::new().prefix(name).tempdir().unwrap(),
        };
        lib_elsewhere(&place);
    }
}

#[test]
fn a_relative_directory_is_not_used() {
    let place = Place::new();
    let home = tempfile::tempdir().unwrap();
    let mut command = place.hotpatch();
    let output = command
        .arg("lib")
        .env("XDG_CACHE_HOME", "cache")
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success() && text(&output.stdout).contains(".cache/hotpatch"));
}

#[test]
fn without_a_home_it_lies_in_a_directory_of_its_users_own() {
    let place = Place::new();
    let output = place.hotpatch().arg("lib").env_clear().output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = PathBuf::from(text(&output.stdout).trim_end());
    let uid = fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(
        path.parent(),
        Some(Path::new(&format!("/tmp/hotpatch-{uid}")))
    );
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn twenty_first_users_at_once_get_the_same_whole_library() {
    let place = Place::new();
    let started: Vec<_> = (0..20)
        .map(|_| {
            let mut command = place.hotpatch();
            command
                .args(["run", "--", "cat", "/dev/null"])
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in started {
        let output = child.wait_with_output().unwrap();
        // A loader that meets half a library says so.
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            text(&output.stderr)
        );
    }
    let entries = fs::read_dir(place.cache()).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
    names.retain(|name| name != "plans");
    assert_eq!(names.len(), 1, "something is left over: {names:?}");
}
