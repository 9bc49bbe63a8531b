// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::Scratch;
use fsys::{
    replace, Advice, Durability, Engine, EntryKind, File, FileItem, Kind, Lifetime, Options,
    PathOptions, ReplaceOptions,
};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

fn names(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(scratch.dir()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_file_is_replaced_and_keeps_its_mode() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let path = scratch.path("file");
    std::fs::write(&path, b"old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let old = std::fs::metadata(&path).unwrap();
    let report = replace(&engine, &path, b"all new").unwrap();
    assert!(report.visible);
    assert_eq!((report.durability, report.bytes), (Durability::Full, 7));
    assert_eq!(std::fs::read(&path).unwrap(), b"all new");
    let new = std::fs::metadata(&path).unwrap();
    assert_eq!(new.mode(), old.mode());
    assert_ne!(new.ino(), old.ino());

    let options = ReplaceOptions::new().create_new(true).durability(Durability::Data);
    let failure = options.replace(&engine, &path, b"x").unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Os(17));
    assert!(!failure.report.visible && failure.error.to_string().contains("file"));
    let missing = ReplaceOptions::new().existing(true).replace(&engine, scratch.path("no"), b"x");
    assert_eq!(fsys::Error::from(missing.unwrap_err()).kind(), Kind::Os(2));
    assert_eq!(names(&scratch), ["file"]);
}

#[test]
fn piece_by_piece_committed_aborted_dropped() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let path = scratch.path("file");
    let mut replacement = ReplaceOptions::new().begin(&engine, &path).unwrap();
    for i in 0..100 {
        writeln!(replacement, "line {i}").unwrap();
    }
    assert!(!path.exists());
    assert_eq!(engine.close().unwrap_err().kind(), Kind::Os(16));
    assert_eq!(replacement.commit().unwrap().bytes, 790);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 100);

    let mut replacement = ReplaceOptions::new().begin(&engine, &path).unwrap();
    replacement.write_all(b"never").unwrap();
    replacement.abort().unwrap();
    drop(ReplaceOptions::new().begin(&engine, &path).unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 100);
    assert_eq!(names(&scratch), ["file"]);
    engine.close().unwrap();
}

#[test]
fn as_futures_also_dropped_ones() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let ops: Vec<_> = (0..50)
        .map(|i| {
            let path = scratch.path(&format!("{i}"));
            ReplaceOptions::new().submit_replace(&engine, path, vec![i; 100]).unwrap()
        })
        .collect();
    for (i, op) in ops.into_iter().enumerate() {
        if i % 2 == 0 {
            let (report, data) = op.wait().unwrap();
            assert!(report.visible);
            assert_eq!(data, vec![i as u8; 100]);
        }
    }
    engine.close().unwrap(); // lets the dropped ones end
    for i in 0..50 {
        assert_eq!(std::fs::read(scratch.path(&format!("{i}"))).unwrap(), vec![i; 100]);
    }

    let engine = Engine::new().unwrap();
    std::fs::create_dir(scratch.path("directory")).unwrap();
    let op = ReplaceOptions::new().submit_replace(&engine, scratch.path("directory"), "text");
    let failure = op.unwrap().wait().unwrap_err();
    assert_eq!((failure.error.kind(), failure.buffer), (Kind::Os(21), Some("text")));
    assert!(failure.error.to_string().contains("directory"));

    let local = Options::new().open_local().unwrap();
    let op = ReplaceOptions::new().submit_replace(&local, scratch.path("file"), "text").unwrap();
    assert_eq!(local.block_on(op).unwrap_err().error.kind(), Kind::Os(95));
}

#[test]
fn many_files_in_one_call_and_copies() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    std::fs::write(scratch.path("gone"), b"x").unwrap();
    let (a, b, gone) = (scratch.path("a"), scratch.path("b"), scratch.path("gone"));
    let wrong = scratch.path("no/such");
    let items = [
        FileItem::Replace(&a, b"bytes of a"),
        FileItem::Replace(&wrong, b"nowhere"),
        FileItem::Replace(&b, b""),
        FileItem::Unlink(&gone),
    ];
    let results = ReplaceOptions::new().batch(&engine, &items).unwrap();
    assert_eq!(results[1].as_ref().unwrap_err().kind(), Kind::Os(2));
    assert!(results[0].is_ok() && results[2].is_ok() && results[3].is_ok());
    assert!(!gone.exists() && std::fs::read(&b).unwrap().is_empty());

    let report = ReplaceOptions::new().copy(&engine, &a, scratch.path("c")).unwrap();
    assert!(report.method != 0 && report.bytes == 10);
    assert_eq!(std::fs::read(scratch.path("c")).unwrap(), b"bytes of a");
}

#[test]
fn names_and_directories() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let options = PathOptions::new();
    let at = |name: &str| scratch.path(name);
    options.clone().parents(true).mkdir(&engine, at("d/e/f")).unwrap();
    assert_eq!(options.mkdir(&engine, at("d")).unwrap_err().kind(), Kind::Os(17));
    assert_eq!(options.append(&engine, at("d/log"), b"one\n").unwrap(), 0);
    assert_eq!(options.append(&engine, at("d/log"), b"two\n").unwrap(), 4);
    options.rename(&engine, at("d/log"), at("d/e/log")).unwrap();
    options.link(&engine, at("d/e/log"), at("d/e/log2")).unwrap();
    let taken = options.clone().create_new(true).rename(&engine, at("d/e/log"), at("d/e/log2"));
    assert_eq!(taken.unwrap_err().kind(), Kind::Os(17));
    assert_eq!(options.read_file(&engine, at("d/e/log"), 0).unwrap(), b"one\ntwo\n");
    assert_eq!(options.read_file(&engine, at("d/e/log"), 3).unwrap_err().kind(), Kind::Os(27));
    options.clone().durability(Durability::Data).sync(&engine, at("d/e/log")).unwrap();

    let scan = options.clone().recursive(true).scan(&engine, at("d")).unwrap();
    let found: Vec<_> = scan.map(|entry| entry.unwrap()).collect();
    let paths: Vec<_> = found.iter().map(|entry| entry.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["e", "e/f", "e/log", "e/log2"]);
    assert_eq!((found[0].kind, found[2].kind), (EntryKind::Directory, EntryKind::File));
    assert_eq!((found[2].size, found[2].links, found[2].depth), (8, 2, 1));

    options.unlink(&engine, at("d/e/log2")).unwrap();
    assert_eq!(options.unlink(&engine, at("d/e/log2")).unwrap_err().kind(), Kind::Os(2));
    options.clone().missing_ok(true).unlink(&engine, at("d/e/log2")).unwrap();
    options.rmdir(&engine, at("d/e/f")).unwrap();
    assert_eq!(options.sweep(&engine, at("d"), Duration::ZERO).unwrap(), 0);

    let dir = File::open(&engine, at("d")).unwrap();
    let beneath = options.dir(&dir);
    assert_eq!(beneath.read_file(&engine, "e/log", 0).unwrap().len(), 8);
    assert_eq!(beneath.read_file(&engine, "../d/e/log", 0).unwrap_err().kind(), Kind::Os(18));
}

#[test]
fn ranges_and_advice() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    file.write_at(&[1; 16384], 0).unwrap();
    file.truncate(12288, Durability::Data).unwrap();
    assert_eq!(file.info().unwrap().size, 12288);
    let unsupported = |result: fsys::Result<()>| match result {
        Ok(()) => false,
        Err(error) if error.kind() == Kind::Os(95) => true,
        Err(error) => panic!("{error}"),
    };
    if unsupported(file.punch_hole(4096..8192, Durability::Full)) {
        println!("skipped: no holes in {}", scratch.dir().display());
    } else {
        let mut bytes = [9; 4096];
        file.read_exact_at(&mut bytes, 4096).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
    file.zero_range(0..4096, true, Durability::None).unwrap();
    let mut bytes = [9; 1];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [0]);
    if !unsupported(file.preallocate(0..1 << 20, false, Durability::Data)) {
        assert_eq!(file.info().unwrap().size, 1 << 20);
    }
    file.advise(0, 0, Advice::Sequential).unwrap();
    file.set_lifetime(Lifetime::Short).unwrap();
}

#[test]
fn pieces_are_committed_and_batches_done_beside_this_thread() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let options = ReplaceOptions::new().lifetime(Lifetime::Long).durability(Durability::Data);
    let mut replacement = options.begin(&engine, scratch.path("file")).unwrap();
    replacement.write_all(b"pieces").unwrap();
    let report = replacement.submit_commit().wait().unwrap();
    assert!(report.visible && report.bytes == 6);
    assert_eq!(std::fs::read(scratch.path("file")).unwrap(), b"pieces");

    let replacement = options.clone().create_new(true).begin(&engine, scratch.path("new")).unwrap();
    std::fs::write(scratch.path("new"), b"another was quicker").unwrap();
    let failure = replacement.submit_commit().wait().unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Os(17));
    assert!(!failure.report.visible && failure.error.to_string().contains("new"));
    let local = Options::new().open_local().unwrap();
    let replacement = options.begin(&local, scratch.path("file")).unwrap();
    let refused = local.block_on(replacement.submit_commit()).unwrap_err();
    assert_eq!(refused.error.kind(), Kind::Os(95));

    let mut items: Vec<_> =
        (0..10u8).map(|i| (scratch.path(&format!("f{i}")), Some(vec![i; 10]))).collect();
    items.push((scratch.path("new"), None));
    items.push((scratch.path("."), Some(vec![])));
    let results = options.submit_batch(&engine, items).unwrap().wait().unwrap();
    assert!(results.len() == 12 && results[..11].iter().all(|result| result.is_ok()));
    assert_eq!(results[11].as_ref().unwrap_err().kind(), Kind::Os(22));
    assert_eq!(std::fs::read(scratch.path("f9")).unwrap(), [9; 10]);
    assert_eq!(names(&scratch).len(), 11);
    let none: Vec<(std::path::PathBuf, Option<Vec<u8>>)> = Vec::new();
    assert!(options.submit_batch(&engine, none).unwrap().wait().unwrap().is_empty());
}
