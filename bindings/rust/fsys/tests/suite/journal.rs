// SPDX-License-Identifier: Apache-2.0 OR MIT
use crate::{eventually, Scratch};
use fsys::{
    check_journal, explain_journal, list_pins, list_segments, salvage_journal, snapshot_journal,
    Engine, Entry, Journal, JournalOptions, Kind, Lsn, Place, Reader, Verdict,
};
use std::io::IoSlice;
use std::time::Duration;

fn small() -> JournalOptions {
    JournalOptions::new().segment_bytes(64 << 10).buffer_bytes(64 << 10)
}

fn read_all(reader: &mut Reader) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Entry::Record(record) = reader.next(Some(Duration::ZERO)).unwrap() {
        records.push(record.data.to_vec());
    }
    records
}

#[test]
fn records_are_there_after_reopening() {
    let scratch = Scratch::make();
    let path = scratch.path("journal");
    let engine = Engine::new().unwrap();
    let journal = small().open(&engine, &path).unwrap();
    assert_eq!(journal.report().verdict, Verdict::Fresh);

    let first = journal.append(b"one").unwrap();
    let second = journal.append_vectored(&[IoSlice::new(b"tw"), IoSlice::new(b"o")]).unwrap();
    let batch = [IoSlice::new(b"three"), IoSlice::new(b"")];
    let last = journal.append_batch(&batch).unwrap();
    assert!(first < second && second < last);
    journal.sync(last).unwrap();
    assert!(journal.frontiers().unwrap().durable >= last);
    assert_eq!(journal.frontiers().unwrap().unknown, None);

    let mut ticket = journal.reserve(4).unwrap();
    ticket.copy_from_slice(b"four");
    let in_place = ticket.publish().unwrap();
    drop(journal.reserve(100).unwrap()); // abandoned
    journal.sync(in_place).unwrap();
    let error = journal.sync_timeout(in_place + 1_000_000, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Os(22));
    journal.close().unwrap();

    let error = small().existing(true).open(&engine, scratch.path("absent")).unwrap_err();
    assert_eq!(error.kind(), Kind::Os(2));
    let report = check_journal(&path, true).unwrap();
    assert_eq!((report.verdict, report.records), (Verdict::Clean, 5));
    let (mut reader, report) = Reader::open(&engine, &path, 0).unwrap();
    assert_eq!(report.verdict, Verdict::Clean);
    let want: [&[u8]; 5] = [b"one", b"two", b"three", b"", b"four"];
    assert_eq!(read_all(&mut reader), want);
    reader.seek(first).unwrap();
    assert_eq!(read_all(&mut reader), want[1..]);
    drop(reader);
    assert_eq!(salvage_journal(&path, scratch.path("copy")).unwrap(), (5, 0));
}

#[test]
fn commits_of_many_futures_and_threads() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let journal = Journal::open(&engine, scratch.path("journal")).unwrap();
    let commits: Vec<_> =
        (0..500).map(|i| journal.submit_commit(format!("{i}").as_bytes()).unwrap()).collect();
    let mut last: Lsn = 0;
    for commit in commits {
        let lsn = commit.lsn();
        assert_eq!(commit.wait().unwrap(), lsn);
        assert!(lsn > last);
        last = lsn;
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).all(|_| journal.commit(b"thread").unwrap() > last));
        }
    });
    assert!(journal.stats().unwrap().syncs < 540);
    assert_eq!(read_all(&mut journal.reader(0).unwrap()).len(), 540);
    assert_eq!(read_all(&mut journal.reader_of_written(last).unwrap()).len(), 40);
    assert_eq!(journal.cause(), None);
}

#[test]
fn a_reader_follows_from_another_thread() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let journal = Journal::open(&engine, scratch.path("journal")).unwrap();
    let mut reader = journal.reader(0).unwrap();
    let follower = std::thread::spawn(move || match reader.next(None).unwrap() {
        Entry::Record(record) => record.data.to_vec(),
        other => panic!("{other:?}"),
    });
    journal.commit(b"followed").unwrap();
    assert_eq!(follower.join().unwrap(), b"followed");
}

#[test]
fn trim_pins_segments_truncate_snapshot() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let journal = small().open(&engine, scratch.path("journal")).unwrap();
    let mut lsns = Vec::new();
    for i in 0..40 {
        lsns.push(journal.append(&vec![i; 8000]).unwrap());
    }
    journal.sync(lsns[39]).unwrap();
    assert!(journal.segments().unwrap().len() > 3);
    journal.pin("shipper", lsns[2], 0).unwrap();
    assert_eq!(journal.pins().unwrap()[0].name, "shipper");
    journal.trim(lsns[30]).unwrap();
    let mut reader = journal.reader(lsns[2]).unwrap();
    assert_eq!(read_all(&mut reader).len(), 37);
    journal.unpin("shipper").unwrap();
    assert_eq!(journal.unpin("shipper").unwrap_err().kind(), Kind::Os(2));
    journal.trim(lsns[30]).unwrap();
    reader.seek(0).unwrap();
    match reader.next(Some(Duration::ZERO)).unwrap() {
        Entry::Gap { from, to } => assert!(from < to && to <= lsns[30]),
        Entry::Record(record) => assert!(record.lsn > lsns[2]),
        other => panic!("{other:?}"),
    }
    drop(reader);
    journal.truncate(lsns[35]).unwrap();
    let after = journal.commit(b"again").unwrap();
    assert!(after > lsns[35]);
    journal.rotate().unwrap();
    assert!(journal.segments().unwrap().iter().any(|segment| segment.sealed));
    journal.snapshot(0, scratch.path("snapshot")).unwrap();
    let (mut reader, _) = Reader::open(&engine, scratch.path("snapshot"), lsns[34]).unwrap();
    assert_eq!(read_all(&mut reader), [vec![35; 8000], b"again".to_vec()]);
}

#[test]
fn locks_and_open_readers() {
    let scratch = Scratch::make();
    let path = scratch.path("journal");
    let engine = Engine::new().unwrap();
    let journal = Journal::open(&engine, &path).unwrap();
    let error = Journal::open(&engine, &path).unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(error.to_string().contains("journal"), "{error}");
    let reader = journal.reader(0).unwrap();
    assert_eq!(journal.close().unwrap_err().kind(), Kind::Os(16));
    drop(reader); // closes the journal too
    Journal::open(&engine, &path).unwrap().close().unwrap();
    engine.close().unwrap();
}

#[test]
fn damage_is_told_and_salvaged() {
    let scratch = Scratch::make();
    let path = scratch.path("journal");
    let engine = Engine::new().unwrap();
    let journal = small().open(&engine, &path).unwrap();
    for i in 0..3 {
        journal.commit(&vec![i; 3000]).unwrap();
    }
    let segment = path.join(&journal.segments().unwrap()[0].name);
    journal.close().unwrap();
    // Rot in the middle record.
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes.windows(100).position(|window| window == [1; 100]).unwrap();
    bytes[place] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    assert_eq!(Journal::open(&engine, &path).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(check_journal(&path, false).unwrap().verdict, Verdict::Damaged);
    let (mut reader, _) = match Reader::open(&engine, &path, 0) {
        Ok(opened) => opened,
        Err(error) => panic!("{error}"),
    };
    let mut whole = 0;
    loop {
        match reader.next(Some(Duration::ZERO)).unwrap() {
            Entry::Record(_) => whole += 1,
            Entry::Damage { .. } => match reader.skip_damage() {
                Ok(lost) => assert!(!lost.is_empty()),
                // A damaged journal does not know its end: damage with nothing readable behind it.
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Nothing);
                    break;
                }
            },
            _ => break,
        }
    }
    assert_eq!(whole, 2);
    drop(reader);
    let report = check_journal(&path, false).unwrap();
    let finding = explain_journal(&path, report.damage_lsn).unwrap();
    assert_eq!(finding.place, Place::Damaged);
    assert!(finding.proof_durable_lsn >= report.damage_lsn, "{finding:?}");
    assert_eq!(explain_journal(&path, 1 << 40).unwrap().place, Place::End);
    assert_eq!(explain_journal(scratch.path("absent"), 1).unwrap_err().kind(), Kind::Os(2));
    assert_eq!(list_segments(&path).unwrap().len(), 1);
    assert_eq!(list_pins(&path).unwrap(), []);
    let (records, lost) = salvage_journal(&path, scratch.path("salvaged")).unwrap();
    assert_eq!((records, lost), (2, 1));
}

#[test]
fn sealed_segments_are_announced_until_the_journal_closes() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let options =
        small().spare_segments(0).block_bytes(4096).append_timeout(Duration::from_secs(9));
    let journal = options.open(&engine, scratch.path("journal")).unwrap();
    let waiting = journal.submit_sealed(0);
    assert!(!waiting.is_done());
    journal.commit(b"one").unwrap();
    journal.rotate().unwrap();
    let first = waiting.wait().unwrap();
    let segments = journal.segments().unwrap();
    assert!(segments[0].number == first && segments[0].sealed && segments[0].file_bytes > 0);
    assert_eq!(journal.submit_sealed(0).wait().unwrap(), first); // at once
    assert_eq!(journal.submit_sealed(999).wait().unwrap_err().kind(), Kind::Stale);
    let kept = journal.submit_sealed(first);
    drop(journal.submit_sealed(first));
    eventually("the dropped one ends", || engine.stats().unwrap().in_flight == 1);
    // A detached one goes on, and holds nothing open.
    journal.submit_sealed(first).detach();
    // An open reservation holds up what is behind it: a sync that waits until it is given up.
    let ticket = journal.reserve(10).unwrap();
    let commit = journal.submit_commit(b"behind it").unwrap();
    let beside = journal.submit_sync(commit.lsn());
    let lsn = commit.lsn();
    drop(commit);
    eventually("the dropped commit ends", || engine.stats().unwrap().in_flight == 3);
    drop(ticket);
    assert_eq!(beside.wait().unwrap(), lsn); // the record is there all the same
    journal.close().unwrap();
    assert_eq!(kept.wait().unwrap_err().kind(), Kind::Closed);

    let journal = small().open(&engine, scratch.path("journal")).unwrap();
    let last = list_segments(scratch.path("journal")).unwrap().last().unwrap().number;
    let kept = journal.submit_sealed(last - 1);
    drop(journal);
    assert_eq!(kept.wait().unwrap_err().kind(), Kind::Closed);
    engine.close().unwrap();
}

#[test]
fn a_journal_that_is_not_open_here_is_copied() {
    let scratch = Scratch::make();
    let engine = Engine::new().unwrap();
    let path = scratch.path("journal");
    let journal = small().open(&engine, &path).unwrap();
    let lsns = [b"one", b"two", b"six"].map(|data| journal.commit(data).unwrap());
    snapshot_journal(&path, lsns[1], scratch.path("beside")).unwrap();
    journal.close().unwrap();
    snapshot_journal(&path, 0, scratch.path("all")).unwrap();
    for (copy, count) in [("beside", 2), ("all", 3)] {
        assert_eq!(check_journal(scratch.path(copy), true).unwrap().verdict, Verdict::Clean);
        let (mut reader, _) = Reader::open(&engine, scratch.path(copy), 0).unwrap();
        assert_eq!(read_all(&mut reader).len(), count);
        reader.seek(lsns[0]).unwrap();
        match reader.next(Some(Duration::ZERO)).unwrap() {
            Entry::Record(record) => assert_eq!((record.lsn, record.data), (lsns[1], &b"two"[..])),
            other => panic!("{other:?}"),
        };
    }
    let taken = snapshot_journal(&path, 0, scratch.path("all")).unwrap_err();
    assert_eq!(taken.kind(), Kind::Os(39));
    let inside = snapshot_journal(&path, lsns[1] - 1, scratch.path("x")).unwrap_err();
    assert_eq!(inside.kind(), Kind::Os(22));
    let absent = snapshot_journal(scratch.path("absent"), 0, scratch.path("y")).unwrap_err();
    assert_eq!(absent.kind(), Kind::Os(2));
}
