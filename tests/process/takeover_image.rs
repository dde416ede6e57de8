//! What a successor does not take over, from a process that does what a test says.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    os::fd::AsFd,
};

use holdgate_tests::{gateway::Gateway, http, wait};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde_json::json;

use crate::{
    host, steady,
    takeover_script::{Channel, Desk},
    three,
};

/// What a process that is to be replaced gives, and why its successor does not take it.
#[test]
fn a_successor_takes_nothing_that_is_not_whole() {
    let (_backends, orchestrator, _) = three();
    let mut gateway = steady(&orchestrator, "");
    wait::until("a snapshot", || snapshot(&gateway));
    gateway.kill_9();
    let good = snapshot(&gateway).expect("it was there");
    let half = good[..good.len() / 2].to_vec();
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let cases = [
        (Some(good), true, "what was received is"),
        (Some(half), true, "not whole"),
        (Some(changed), true, "not whole"),
        (Some(Vec::new()), true, "not whole"),
        (Some(b"no image".to_vec()), false, "cannot change any more"),
        (None, true, "does not hand over a table"),
    ];
    fs::remove_file(gateway.state_dir().join("handover.sock")).expect("it was left");
    let desk = Desk::open(&gateway.state_dir());
    for (image, sealed, said) in cases {
        let refused = std::thread::scope(|scope| {
            let successor = scope.spawn(|| gateway.command(&["run", "--take-over"]));
            give(&desk.called(), image.as_deref(), sealed);
            successor.join().expect("it was started")
        });
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(75), "{complaint}");
        assert!(complaint.contains(said), "{said}: {complaint}");
    }
    // One that closes without a word, and one that refuses.
    for (word, said) in [(None, "has gone"), (Some("busy"), "refuses: busy")] {
        let refused = std::thread::scope(|scope| {
            let successor = scope.spawn(|| gateway.command(&["run", "--take-over"]));
            let channel = desk.called();
            assert_eq!(channel.hears(), "hello");
            word.into_iter().for_each(|word| channel.say(&json!({"message": "refused", "reason": word}), &[]));
            drop(channel);
            successor.join().expect("it was started")
        });
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(75), "{complaint}");
        assert!(complaint.contains(said), "{said}: {complaint}");
    }
    assert!(http::get(gateway.web, &host(0), "/").is_err(), "nobody has begun to serve");
}

fn snapshot(gateway: &Gateway) -> Option<Vec<u8>> {
    let mut files = fs::read_dir(gateway.state_dir()).ok()?.flatten();
    let snapshot = files.find(|file| file.file_name().to_string_lossy().starts_with("snapshot-"))?;
    fs::read(snapshot.path()).ok()
}

/// Gives a table that is said to be of generation 99, and waits until the successor has had enough.
fn give(channel: &Channel, image: Option<&[u8]>, sealed: bool) {
    assert_eq!(channel.hears(), "hello");
    let table = json!({"has_table": true, "epoch": "e", "generation": 99, "apps": 3, "digest": "0", "pinned": false});
    channel.say(
        &json!({"message": "offer", "protocol": 1, "version": "scripted", "pid": 1, "table": table, "descriptors": 1}),
        &[],
    );
    let mut memory = fs::File::from(memfd_create("image", MemfdFlags::ALLOW_SEALING).expect("memory"));
    memory.write_all(image.unwrap_or_default()).expect("written");
    memory.seek(SeekFrom::End(0)).expect("a place");
    if sealed {
        fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK).expect("sealed");
    }
    let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let role = if image.is_some() { "image" } else { "riddle" };
    channel.say(
        &json!({"message": "descriptors", "roles": [{"role": role}, {"role": "returns"}]}),
        &[memory.as_fd(), far.as_fd()],
    );
    let last = channel.hears();
    assert!(last == "refused" || last == "nothing", "{last}");
    drop(near);
}
