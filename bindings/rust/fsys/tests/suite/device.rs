// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::Scratch;
use fsys::{device_flush, device_flush_fd, probe, probe_fd, Answer, Engine, File, Kind};

#[test]
fn a_probe_answers_and_says_what_it_does_not_know() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    let of_file = file.probe().unwrap();
    let of_path = probe(scratch.path("file")).unwrap();
    assert_eq!(of_file.file_system, of_path.file_system);
    let plain = std::fs::File::open(scratch.path("file")).unwrap();
    assert_eq!(probe_fd(&plain).unwrap().file_system, of_path.file_system);
    assert_eq!(of_file.file_system, file.info().unwrap().file_system);
    assert!(!of_path.sync_text.is_empty() && !of_path.flush_text.is_empty());
    assert_eq!(of_path.raw.device_count as usize, of_path.devices.len());
    for (place, device) in of_path.devices.iter().enumerate() {
        assert!(!device.name.is_empty());
        assert!(device.above.map_or(true, |above| above < place), "{device:?}");
        if device.power_loss_protection == Answer::Unknown {
            assert!(!device.evidence.is_empty(), "{device:?}");
        }
    }
    assert_eq!(probe(scratch.path("absent")).unwrap_err().kind(), Kind::Os(2));
    println!("{of_path:#?}");
}

#[test]
fn a_device_flush_succeeds_or_says_why_not() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let file = File::create(&engine, scratch.path("file")).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    // What the disk here allows is not known; that the file itself was committed is.
    let plain = std::fs::File::open(scratch.path("file")).unwrap();
    let path = scratch.path("file");
    for outcome in [file.device_flush(), device_flush(path), device_flush_fd(plain)] {
        match outcome {
            Ok(flushed) => assert!(flushed.devices > 0 && !flushed.text.is_empty()),
            Err(error) => {
                // EACCES, ENODEV, ENXIO, EOPNOTSUPP, or some of several controllers.
                let expected =
                    [Kind::Os(13), Kind::Os(19), Kind::Os(6), Kind::Os(95), Kind::Unknown];
                assert!(expected.contains(&error.kind()), "{error:?}");
                println!("here: {error}");
            }
        }
    }
    file.close().unwrap();
    assert_eq!(device_flush(scratch.path("absent")).unwrap_err().kind(), Kind::Os(2));
}

#[test]
fn the_library_says_what_it_is() {
    let version = fsys::version();
    let text = format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff);
    assert!(fsys::version_string().starts_with(&text), "{}", fsys::version_string());
    assert!((0..30).all(|bucket| fsys::bucket_bound_ns(bucket) < fsys::bucket_bound_ns(bucket + 1)));
}
