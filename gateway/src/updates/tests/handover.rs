use std::io;

use routing_cache::{
    disk::Opened,
    updater::{BootError, Claimed, Comparison},
};

use super::*;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// An old process that serves three apps.
async fn serving(disk: &SimDisk) -> (Updates, Reader) {
    let (updater, reader) = booted(disk, clock::now());
    let (updates, _thread) = started(updater, &reader);
    updates.observe(Observation::Ready).await.unwrap();
    assert!(matches!(updates.offer_snapshot(snapshot(1, 3)).await.unwrap(), Outcome::Published(_)));
    (updates, reader)
}

/// A new one, of an image.
fn receiving(disk: &SimDisk, image: std::fs::File) -> (Updates, Received, Reader) {
    let config = config(Duration::from_secs(10));
    let (disk, mut image) = (Arc::new(disk.clone()), Opened::new(image).unwrap());
    let received = Updater::receive_on(disk, config, &mut image, Path::new("/state"), clock::now());
    let (updater, reader) = received.unwrap();
    let (updates, received, _thread) = Updates::start_received(updater, reader.clone(), Path::new("/")).unwrap();
    (updates, received, reader)
}

/// Whether another process could have the folder.
fn is_free(disk: &SimDisk) -> bool {
    Updater::boot_on(Arc::new(disk.fork()), config(LONG), Path::new("/state"), clock::now()).is_ok()
}

/// A compaction of the old process keeps the folder until it has left off.
async fn claimed(received: &Received) -> Claimed {
    loop {
        match received.claim().await.unwrap() {
            Ok(claimed) => return claimed,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// An offer that is on its way.
fn offered(updates: &Updates, generation: u64) -> tokio::task::JoinHandle<Result<Outcome, UpdaterGone>> {
    let updates = updates.clone();
    tokio::spawn(async move { updates.offer_snapshot(snapshot(generation, 4)).await })
}

#[test]
fn while_it_stands_still_offers_wait_and_are_taken_afterwards() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let (updates, reader) = serving(&disk).await;
        let suspended = updates.suspend(LONG).await.unwrap();
        let offer = offered(&updates, 2);
        for _ in 0..3 {
            assert_eq!(suspended.mark().await.unwrap().generation, Generation(1));
        }
        assert_eq!((reader.load().table.len(), offer.is_finished()), (3, false));
        assert!(updates.report().received.is_some());
        drop(suspended);
        assert!(matches!(offer.await.unwrap(), Ok(Outcome::Published(Summary { saved: true, .. }))));
        assert_eq!(reader.load().table.len(), 4);
    });
}

#[test]
fn when_its_time_is_over_it_takes_its_folder_back_and_goes_on() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let (updates, reader) = serving(&disk).await;
        let suspended = updates.suspend(Duration::from_millis(20)).await.unwrap();
        // ignored: the time may be over already
        let _ = suspended.release().await;
        let offer = updates.offer_snapshot(snapshot(2, 4)).await.unwrap();
        assert!(matches!(offer, Outcome::Published(Summary { saved: true, .. })), "{offer:?}");
        assert_eq!(reader.load().table.len(), 4);
        assert!(!is_free(&disk));
        assert_eq!(suspended.mark().await, Err(NoLonger));
        assert!(matches!(suspended.image(Vec::new()).await, Err(ImageError::Gone)));
        assert_eq!(suspended.hand_over().await, Err(NoLonger));
        assert!(!updates.handed_over());
    });
}

#[test]
fn another_process_takes_the_table_over_and_the_old_one_changes_nothing_any_more() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let (old, old_reader) = serving(&disk).await;
        let suspended = old.suspend(LONG).await.unwrap();
        let waiting = offered(&old, 2);
        let (file, bytes) = suspended.image(tempfile::tempfile().unwrap()).await.unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes);
        let (new, received, reader) = receiving(&disk, file);
        let (theirs, ours) = (received.mark().await.unwrap(), suspended.mark().await.unwrap());
        assert_eq!(theirs.against(&ours), Comparison::Same);
        assert!(matches!(received.claim().await.unwrap(), Err(BootError::Locked { .. })));
        suspended.release().await.unwrap();
        let claimed = claimed(&received).await;
        assert!(claimed.goes_on, "{claimed:?}");
        let offer = offered(&new, 2);
        assert_eq!((received.mark().await.unwrap(), offer.is_finished()), (theirs, false));
        suspended.hand_over().await.unwrap();
        assert!(old.handed_over());
        assert!(matches!(waiting.await.unwrap(), Err(UpdaterGone)));
        assert_eq!(old.stopping().await, Err(UpdaterGone));
        drop(received);
        // Its gate is shut so far.
        assert!(matches!(offer.await.unwrap(), Ok(Outcome::Rejected(Rejection::GateShut(_)))));
        while !new.observe(Observation::Ready).await.unwrap().wants_answers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let outcome = new.offer_snapshot(snapshot(2, 4)).await.unwrap();
        assert!(matches!(outcome, Outcome::Published(Summary { saved: true, .. })), "{outcome:?}");
        assert_eq!((reader.load().table.len(), old_reader.load().table.len()), (4, 3));
    });
}

#[test]
fn where_the_other_process_fails_after_its_claim_the_old_one_goes_on() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let (old, old_reader) = serving(&disk).await;
        let suspended = old.suspend(LONG).await.unwrap();
        let (file, _) = suspended.image(tempfile::tempfile().unwrap()).await.unwrap();
        let (new, received, _) = receiving(&disk, file);
        suspended.release().await.unwrap();
        claimed(&received).await;
        drop((new, received));
        drop(suspended);
        let outcome = old.offer_snapshot(snapshot(2, 4)).await.unwrap();
        assert!(matches!(outcome, Outcome::Published(_)), "{outcome:?}");
        while old.report().saved.unsaved {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(old_reader.load().table.len(), 4);
        drop(old);
        let (_, again) = booted(&killed(&disk), clock::now());
        assert_eq!(again.load().table.len(), 4);
    });
}

/// The same disk, its processes being gone.
fn killed(disk: &SimDisk) -> SimDisk {
    let disk = disk.fork();
    disk.kill();
    disk
}

#[test]
fn who_never_claimed_its_folder_changes_nothing_and_leaves_it_alone() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let (old, _) = serving(&disk).await;
        let (file, _) = old.image(tempfile::tempfile().unwrap()).await.unwrap();
        drop(old);
        while !is_free(&disk) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (new, received, reader) = receiving(&disk, file);
        let before = disk.operations();
        drop(received);
        assert!(matches!(new.offer_snapshot(snapshot(2, 4)).await, Err(UpdaterGone)));
        assert_eq!((reader.load().table.len(), disk.operations()), (3, before));
    });
}

struct Full;

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_image_that_cannot_be_written_says_why() {
    in_runtime(async {
        let (updates, _) = serving(&SimDisk::new(1)).await;
        let Err(ImageError::Write(why)) = updates.image(Full).await else { panic!("it was written") };
        assert_eq!(why.kind(), io::ErrorKind::StorageFull);
        let suspended = updates.suspend(LONG).await.unwrap();
        assert!(matches!(suspended.image(Full).await, Err(ImageError::Write(_))));
        let (bytes, length) = suspended.image(Vec::new()).await.unwrap();
        assert_eq!(bytes.len() as u64, length);
    });
}
