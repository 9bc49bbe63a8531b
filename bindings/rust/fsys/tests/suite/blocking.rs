// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::Scratch;
use fsys::{Backend, Engine, File, Kind, OpenOptions, Options};
use std::io;

#[test]
fn durable_write_reads_back() {
    let scratch = Scratch::make();
    for backend in [Backend::IoUring, Backend::Threads] {
        let engine = match Options::new().backend(backend).open() {
            Ok(engine) => engine,
            Err(error) if error.kind() == Kind::UringSetup => {
                println!("skipped: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(engine.info().unwrap().backend, backend);
        let file = File::create(&engine, scratch.path("file")).unwrap();
        file.write_durable_at(b"hello, ", 0).unwrap();
        file.write_at(b"world", 7).unwrap();
        file.sync_data().unwrap();
        file.sync().unwrap();
        let mut bytes = [0; 100];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 12);
        assert_eq!(&bytes[..12], b"hello, world");
        assert_eq!(file.info().unwrap().size, 12);
        assert_eq!(engine.stats().unwrap().bytes_written, 12);
        file.close().unwrap();
        engine.close().unwrap();
    }
}

#[test]
fn errors_carry_code_name_and_sentence() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let error = File::open(&engine, scratch.path("absent")).unwrap_err();
    assert_eq!((error.kind(), error.name()), (Kind::Os(2), "ENOENT"));
    assert!(error.to_string().contains("absent"), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);

    let file = File::create(&engine, scratch.path("file")).unwrap();
    file.write_at(b"abc", 0).unwrap();
    let error = file.read_exact_at(&mut [0; 4], 0).unwrap_err();
    assert_eq!(error.kind(), Kind::Short);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);

    let error = io::Error::from(file.read_at(&mut [0; 4], u64::MAX).unwrap_err());
    assert_eq!(error.raw_os_error(), Some(22));
    let error = File::open(&engine, "with\0nul").unwrap_err();
    assert_eq!(error.kind(), Kind::Os(22));

    let reading = File::open(&engine, scratch.path("file")).unwrap();
    assert_eq!(reading.write_at(b"x", 0).unwrap_err().kind(), Kind::Os(9));
    let clone = reading.clone();
    reading.close().unwrap();
    assert_eq!(clone.read_at(&mut [0], 0).unwrap_err().kind(), Kind::Closed);
    assert_eq!(clone.close().unwrap_err().kind(), Kind::Closed);
}

#[test]
fn a_root_confines_paths() {
    let scratch = Scratch::make();
    std::fs::create_dir(scratch.path("root")).unwrap();
    let engine = Options::new().root(scratch.path("root")).open().unwrap();
    File::create(&engine, "inside").unwrap();
    assert!(scratch.path("root/inside").exists());
    let error = File::create(&engine, "../outside").unwrap_err();
    assert_eq!(error.kind(), Kind::Os(18));
    assert!(Options::new().root("a\0b").open().is_err());
}

#[test]
fn descriptors_are_duplicated() {
    let scratch = Scratch::make();
    std::fs::write(scratch.path("file"), b"bytes").unwrap();
    let engine = Engine::new().unwrap();
    let file = {
        let opened = std::fs::File::open(scratch.path("file")).unwrap();
        File::from_fd(&engine, &opened).unwrap()
    };
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"bytes");
}

#[test]
fn direct_io_uses_aligned_buffers() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let options = OpenOptions::new().read(true).write(true).create(true).direct(true);
    let file = match options.open(&engine, scratch.path("file")) {
        Ok(file) => file,
        Err(error) if error.kind() == Kind::Os(22) => {
            return println!("skipped: no O_DIRECT in {}", scratch.dir().display());
        }
        Err(error) => panic!("{error}"),
    };
    assert!(file.info().unwrap().direct);
    let mut buffer = engine.buffer(8192).unwrap();
    buffer.fill(7);
    let (count, mut buffer) = file.submit_write_durable(buffer, 0).wait().unwrap();
    assert_eq!(count, 8192);
    buffer.fill(0);
    let (count, buffer) = file.submit_read(buffer, 4096).wait().unwrap();
    assert_eq!((count, buffer.len(), buffer.capacity()), (4096, 4096, 8192));
    assert!(buffer.iter().all(|&byte| byte == 7));
    let failure = file.submit_write(vec![1; 100], 0).wait().unwrap_err();
    assert_eq!(failure.error.kind(), Kind::Misaligned);
    assert_eq!(failure.buffer.unwrap().len(), 100);
}

#[test]
fn an_atomic_write_is_atomic_or_refused() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    file.write_at(&[1; 4096], 0).unwrap();
    // Not a direct file: never a plain write instead.
    assert_eq!(file.write_atomic_at(&[2; 4096], 0).unwrap_err().kind(), Kind::NotAtomic);
    let failure = file.submit_write_atomic(vec![2; 4096], 0).wait().unwrap_err();
    assert_eq!(failure.error.kind(), Kind::NotAtomic);
    assert_eq!(std::fs::read(scratch.path("file")).unwrap(), [1; 4096]);

    let options = OpenOptions::new().read(true).write(true).direct(true);
    let direct = match options.open(&engine, scratch.path("file")) {
        Ok(file) => file,
        Err(error) => return println!("skipped: {error}"),
    };
    let mut buffer = engine.buffer(4096).unwrap();
    buffer.fill(3);
    let promised = direct.probe().unwrap().raw;
    let fits = promised.atomic == fsys::sys::FSYS_ANSWER_YES
        && (promised.atomic_min..=promised.atomic_max).contains(&4096);
    match direct.write_atomic_at(&buffer, 0) {
        Ok(()) => assert!(fits),
        Err(error) => assert!(!fits && error.kind() == Kind::NotAtomic, "{error}"),
    }
}
