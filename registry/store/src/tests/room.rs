//! Making room.

use super::*;
use std::time::{Duration, SystemTime};

/// Artifacts of one file with these bytes each, used in this order.
fn used_in_order(fixture: &Fixture, store: &Store, sizes: &[usize]) -> Vec<ArtifactId> {
    let import = |(at, size): (usize, &usize)| {
        let path = fixture.write(&format!("d{at}"), &noise(*size, at as u8));
        let id = import_dataset(store, &path).unwrap().artifact_id();
        set_used(fixture, &id, at as u64 + 1);
        id
    };
    sizes.iter().enumerate().map(import).collect()
}

fn set_used(fixture: &Fixture, id: &ArtifactId, seconds: u64) {
    let name = id.to_string();
    let path = fixture.store_dir().join("manifests").join(name.trim_start_matches("0x"));
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

#[test]
fn what_was_used_least_recently_goes_first_and_no_more_than_must() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let ids = used_in_order(&fixture, &store, &[1_000, 2_000, 3_000, 4_000]);
    store.note_use(&ids[0]).unwrap();
    assert_eq!(store.evict(10_000).unwrap(), Freed { left_bytes: 10_000, ..Freed::default() });
    let freed = store.evict(5_001).unwrap();
    let expected = Freed { artifacts: vec![ids[1], ids[2]], freed_bytes: 5_000, left_bytes: 5_000 };
    assert_eq!(freed, expected);
    assert_eq!(store.list().unwrap(), [ids[0], ids[3]].into());
    assert_eq!(store.blob_bytes().unwrap(), 5_000);
}

#[test]
fn what_is_pinned_stays_until_its_last_reason_is_taken_back() {
    let fixture = Fixture::new();
    let ids = used_in_order(&fixture, &fixture.open(), &[1_000, 2_000]);
    let store = fixture.open();
    store.pin(&ids[0], PinReason::User).unwrap();
    store.pin(&ids[0], PinReason::Offer).unwrap();
    store.unpin(&ids[0], PinReason::User).unwrap();
    drop(store);
    let store = fixture.open();
    assert_eq!(store.pins().unwrap(), [(ids[0], PinReason::Offer)].into());
    assert_eq!(store.evict(0).unwrap().artifacts, [ids[1]]);
    store.unpin(&ids[0], PinReason::Offer).unwrap();
    store.unpin(&ids[0], PinReason::Offer).unwrap();
    assert_eq!(store.evict(0).unwrap().artifacts, [ids[0]]);
    assert!(matches!(store.pin(&ids[0], PinReason::User), Err(StoreError::UnknownArtifact(_))));
}

#[test]
fn what_is_read_or_leased_stays() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let ids = used_in_order(&fixture, &store, &[1_000, 2_000, 3_000]);
    let manifest = |at: usize| store.get(&ids[at]).unwrap();
    let reader = store.reader(&manifest(0).files()[0].blake3).unwrap();
    let lease = store.lease(&manifest(1));
    assert_eq!(store.evict(0).unwrap().artifacts, [ids[2]]);
    drop(reader);
    assert_eq!(store.evict(0).unwrap().artifacts, [ids[0]]);
    drop(lease);
    assert_eq!(store.evict(0).unwrap().artifacts, [ids[1]]);
}

#[test]
fn blobs_that_others_share_do_not_count_as_freed() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (a, b) = (fixture.gguf_model("a"), fixture.gguf_model("b"));
    let (a, b) = (import_model(&store, &a).unwrap(), import_model(&store, &b).unwrap());
    set_used(&fixture, &a.artifact_id(), 1);
    let gguf = a.files()[1].size;
    let freed = store.evict(gguf + 1).unwrap();
    assert_eq!((freed.artifacts, freed.freed_bytes, freed.left_bytes), (vec![a.artifact_id()], 1, gguf + 1));
    for file in b.files() {
        store.read_all_verified(&file.blake3).unwrap();
    }
}

#[test]
fn making_room_survives_a_kill_at_every_step() {
    survives_a_kill_at_every_step(
        |fixture, store| {
            let id = import_model(store, &fixture.gguf_model("m")).unwrap().artifact_id();
            store.set_name(&"n".parse().unwrap(), &id).unwrap();
            for file in store.get(&id).unwrap().files() {
                store.reader(&file.blake3).unwrap();
            }
            import_model(store, &fixture.gguf_model("other")).unwrap();
        },
        |_, store| store.evict(0).map(drop),
    );
}

#[test]
fn leftovers_are_collected_and_downloads_that_go_on_are_not() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (old, new, open) = (Digest32::from_bytes([1; 32]), Digest32::from_bytes([2; 32]), Digest32::ZERO);
    let kept_open = store.partial(&open, 10).unwrap();
    for blob in [old, new] {
        store.partial(&blob, 10).unwrap();
    }
    let dir = fixture.store_dir().join("partial");
    for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_str().unwrap().starts_with("02") {
            fs::File::options()
                .append(true)
                .open(entry.path())
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
        }
    }
    let outboard = store.layout.outboard_path(&old);
    fs::create_dir_all(outboard.parent().unwrap()).unwrap();
    fs::write(&outboard, b"of a blob that is gone").unwrap();
    let pin = fixture.store_dir().join("pins").join(format!("{}.user", "11".repeat(32)));
    fs::write(&pin, b"").unwrap();
    assert_eq!(store.collect_garbage().unwrap(), 0);
    assert!(!outboard.exists() && !pin.exists());
    assert_eq!(files_below(&dir), 6, "of the new and the open one");
    drop(kept_open);
    store.collect_garbage().unwrap();
    assert_eq!(files_below(&dir), 3);
}
