//! Fetching from holders that behave, and from those that do not.

use std::sync::Arc;

use assay_manifest::{ArtifactId, ArtifactKind, Manifest};
use assay_store::Store;
use futures::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_util::compat::Compat;

use super::world::{Stores, Trouble, World, fetcher, quick};
use crate::blobs::wire::{Answer, MANIFEST_BYTES_MAX};
use crate::blobs::{Fault, Fetch, FetchConfig, FetchError, Fetcher, NoNetwork, Progress, Stage, Want};

const LONG_BYTES: usize = 3_000_000;

fn want(manifest: &Manifest) -> Want {
    Want { artifact: manifest.artifact_id(), kind: None }
}

fn check_whole(store: &Store, manifest: &Manifest) {
    assert_eq!(store.get(&manifest.artifact_id()).unwrap(), *manifest);
    for file in manifest.files() {
        store.read_all_verified(&file.blake3).unwrap();
    }
}

#[tokio::test]
async fn an_artifact_arrives_although_one_holder_lies_and_one_falls_silent() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    let sound = world.add(&source, Trouble::None);
    let lying = world.add(&source, Trouble::Corrupts(200_000));
    let silent = world.add(&source, Trouble::Hangs(400_000));
    let fetched = fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    assert_eq!(fetched, manifest);
    check_whole(&sink, &manifest);
    assert!(matches!(world.faults_of(&lying)[..], [Fault::CorruptRange { .. }]), "{:?}", world.faults.lock());
    assert!(world.faults_of(&silent).iter().all(|fault| *fault == Fault::Stalled));
    assert!(world.faults_of(&sound).is_empty());
    assert!(world.sent(&sound) > 0 && world.sent(&lying) > 200_000);
    assert_eq!(*world.announced.lock().unwrap(), [manifest.artifact_id().digest()]);
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
}

#[tokio::test]
async fn what_was_verified_before_a_fetch_was_dropped_is_not_fetched_again() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    let first = world.add(&source, Trouble::Hangs(1_800_000));
    let (told, mut progress) = watch::channel(0);
    let told = move |now: Progress| {
        told.send_replace(now.done_bytes);
    };
    let fetching = fetcher(&world, &sink);
    tokio::select! {
        ended = fetching.fetch(want(&manifest), &told) => panic!("{ended:?}"),
        _ = progress.wait_for(|done| *done > 1_000_000) => {}
    }
    drop(fetching);
    world.remove(&first);
    let second = world.add(&source, Trouble::None);
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    check_whole(&sink, &manifest);
    let sent = world.sent(&second);
    assert!(sent < 2_200_000, "{sent} bytes were fetched although a million was here");
}

#[tokio::test]
async fn holders_that_are_gone_are_an_error_that_says_what_is_missing_and_the_rest_is_kept() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    let dying = world.add(&source, Trouble::Ends(1_500_000));
    let failed = fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap_err();
    let FetchError::HoldersGone { missing, .. } = &failed else { panic!("{failed}") };
    assert!((1_000_000..2_500_000).contains(&missing.bytes), "{failed}");
    assert!(failed.to_string().contains("bytes of"), "{failed}");
    let missing = missing.bytes;
    world.remove(&dying);
    let sound = world.add(&source, Trouble::None);
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    check_whole(&sink, &manifest);
    let sent = world.sent(&sound);
    assert!(sent < missing + 200_000, "{sent} bytes for {missing} that were missing");
}

#[tokio::test]
async fn a_holder_without_the_artifact_and_one_that_is_busy_do_not_stop_the_others() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    world.add(&stores.store("empty"), Trouble::None);
    let none = crate::blobs::ServeConfig { streams_max: 0, ..Default::default() };
    let busy = world.add_with(&source, Trouble::None, none);
    world.add(&source, Trouble::None);
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    check_whole(&sink, &manifest);
    assert!(world.faults.lock().unwrap().is_empty(), "to be busy is no fault");
    assert!(world.sent(&busy) > 0);
}

#[tokio::test]
async fn nobody_and_nothing_but_refusals_are_told_apart() {
    let (stores, world) = (Stores::new(), World::new());
    let sink = stores.store("sink");
    let id = ArtifactId::from_bytes([5; 32]);
    let want = Want { artifact: id, kind: None };
    let fetching = fetcher(&world, &sink);
    assert!(matches!(fetching.fetch(want, &|_| {}).await, Err(FetchError::NoHolders(_))));
    world.add(&stores.store("empty"), Trouble::None);
    let refused = fetching.fetch(want, &|_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, FetchError::NoManifest { holders: 1, cause, .. } if cause.contains("not have"))
    );
    let none = NoNetwork.fetch(want, &|_| {}).await.unwrap_err();
    assert!(none.to_string().contains("this node has no network"), "{none}");
}

/// A holder that answers every request with these bytes.
fn says(world: &World, bytes: Vec<u8>) -> libp2p::PeerId {
    let (sender, mut streams) = mpsc::channel::<(libp2p::PeerId, Compat<DuplexStream>)>(4);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Some((_, mut stream)) = streams.recv().await {
            // Whoever has heard enough may have closed it.
            let _ = stream.write_all(&bytes).await;
            open.push(stream);
        }
    });
    world.add_holder(sender, Trouble::None)
}

#[tokio::test]
async fn answers_that_are_none_and_manifests_of_others_are_faults() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, 100_000);
    let other = Manifest::dataset(manifest.files()[1..].to_vec()).unwrap().to_bytes();
    let of_other = [Answer::Manifest { size_bytes: other.len() as u32 }.message(), other].concat();
    let mut too_long = Answer::Manifest { size_bytes: 1 }.message();
    too_long[5..].copy_from_slice(&(MANIFEST_BYTES_MAX + 1).to_le_bytes());
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
        (vec![0xff; 1_000], None),
        (too_long, Some(Fault::Malformed)),
        (Answer::Range.message(), Some(Fault::Malformed)),
        (of_other, Some(Fault::WrongManifest(manifest.artifact_id()))),
        (Answer::Manifest { size_bytes: 500 }.message(), Some(Fault::Stalled)),
    ] {
        let peer = says(&world, bytes.clone());
        let refused = fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await;
        assert!(matches!(refused, Err(FetchError::NoManifest { .. })), "{refused:?}");
        if let Some(expected) = expected {
            assert_eq!(world.faults_of(&peer), [expected]);
        } else {
            assert_eq!(world.faults_of(&peer).len(), 1, "{bytes:?}");
        }
        world.remove(&peer);
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_begun_and_what_is_no_model_does_not_enter_as_one() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, 100_000);
    let holder = world.add(&source, Trouble::None);
    let config = FetchConfig { artifact_bytes_max: 100_000, ..quick() };
    let limited = Fetcher::new(Arc::clone(&world), Arc::clone(&sink), config);
    let refused = limited.fetch(want(&manifest), &|_| {}).await;
    assert!(matches!(refused, Err(FetchError::TooLarge { limit_bytes: 100_000, .. })));
    let as_model = Want { kind: Some(ArtifactKind::Model), ..want(&manifest) };
    let refused = fetcher(&world, &sink).fetch(as_model, &|_| {}).await;
    assert!(matches!(refused, Err(FetchError::Store { .. })), "{refused:?}");
    assert!(sink.list().unwrap().is_empty());
    let sent = world.sent(&holder);
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    assert!(world.sent(&holder) < sent + 2_000, "its bytes are sound, and were kept");
}

#[tokio::test]
async fn progress_goes_from_finding_over_fetching_to_checking_and_two_fetches_are_one() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    let holder = world.add(&source, Trouble::None);
    let seen = std::sync::Mutex::new(Vec::new());
    let watch = |now: Progress| seen.lock().unwrap().push(now);
    let fetching = fetcher(&world, &sink);
    let (a, b) =
        tokio::join!(fetching.fetch(want(&manifest), &watch), fetching.fetch(want(&manifest), &|_| {}));
    assert_eq!((a.unwrap(), b.unwrap()), (manifest.clone(), manifest.clone()));
    let sent = world.sent(&holder);
    assert!(sent < manifest.size_bytes() + 100_000, "{sent} bytes were sent for one artifact");
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.first().map(|now| now.stage), Some(Stage::Finding));
    let last = seen.last().unwrap();
    assert_eq!((last.stage, last.total_bytes), (Stage::Checking, manifest.size_bytes()));
    let fetched: Vec<_> =
        seen.iter().filter(|now| now.stage == Stage::Fetching).map(|now| now.done_bytes).collect();
    // The empty and the equal file are here from the beginning.
    assert_eq!(fetched.last().copied(), Some(manifest.size_bytes() - 40_000));
}

#[tokio::test]
async fn blobs_that_are_gone_or_damaged_are_fetched_anew() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, 100_000);
    world.add(&source, Trouble::None);
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    let path = |path: &str| {
        let file = manifest.files().iter().find(|file| file.path.as_str() == path).unwrap();
        let name = file.blake3.to_string().trim_start_matches("0x").to_owned();
        stores.dir().join("sink/blobs").join(&name[..2]).join(&name)
    };
    let mut bytes = std::fs::read(path("short")).unwrap();
    bytes[30_000] ^= 1;
    std::fs::write(path("short"), bytes).unwrap();
    std::fs::remove_file(path("long")).unwrap();
    fetcher(&world, &sink).fetch(want(&manifest), &|_| {}).await.unwrap();
    check_whole(&sink, &manifest);
}

#[tokio::test]
async fn slow_holders_leave_their_places_to_others() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    let day = std::time::Duration::from_secs(86_400);
    let slow: Vec<_> = (0..3).map(|_| world.add(&source, Trouble::Hangs(100_000))).collect();
    let fetching = |replace_after, twin_after| {
        let config = FetchConfig { holders_max: 1, stall: day, replace_after, twin_after, ..quick() };
        Fetcher::new(Arc::clone(&world), Arc::clone(&sink), config)
    };
    world.add(&source, Trouble::None);
    let quickly = std::time::Duration::from_millis(100);
    fetching(quickly, day).fetch(want(&manifest), &|_| {}).await.unwrap();
    check_whole(&sink, &manifest);
    assert!(slow.iter().all(|slow| world.faults_of(slow).is_empty()));
}

#[tokio::test]
async fn the_last_ranges_are_asked_of_two_when_one_takes_long() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    let day = std::time::Duration::from_secs(86_400);
    world.add(&source, Trouble::Hangs(100_000));
    world.add(&source, Trouble::None);
    let config = FetchConfig { stall: day, twin_after: std::time::Duration::from_millis(100), ..quick() };
    let fetching = Fetcher::new(Arc::clone(&world), Arc::clone(&sink), config);
    fetching.fetch(want(&manifest), &|_| {}).await.unwrap();
    check_whole(&sink, &manifest);
}

#[tokio::test]
async fn a_fetch_that_gets_nowhere_is_given_up() {
    let (stores, world) = (Stores::new(), World::new());
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, LONG_BYTES);
    world.add(&source, Trouble::Hangs(500_000));
    let day = std::time::Duration::from_secs(86_400);
    let progress_timeout = std::time::Duration::from_millis(500);
    let config = FetchConfig { stall: day, progress_timeout, ..quick() };
    let fetching = Fetcher::new(Arc::clone(&world), Arc::clone(&sink), config);
    let failed = fetching.fetch(want(&manifest), &|_| {}).await.unwrap_err();
    assert!(matches!(&failed, FetchError::TooSlow { missing, .. } if missing.bytes > 2_000_000), "{failed}");
}
