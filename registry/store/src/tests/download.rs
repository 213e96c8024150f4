//! From verified bytes to an artifact.

use super::ranges::{encoded, go_on, pieces};
use super::*;
use assay_manifest::FileEntry;

/// Copies every blob of an artifact from one store to another, range by range.
pub(super) fn download(from: &Store, to: &Store, manifest: &Manifest) -> Result<(), StoreError> {
    for FileEntry { blake3, size, .. } in manifest.files() {
        if to.holds(blake3, *size)? {
            continue;
        }
        let partial = to.partial(blake3, *size)?;
        for range in pieces(*size).into_iter().flat_map(|piece| partial.missing(piece)) {
            let bytes = encoded(from, blake3, range.clone());
            match partial.receive(range, bytes.as_slice(), go_on) {
                Ok(_) => {}
                Err(ReceiveError::Store(error)) => return Err(error),
                Err(error) => panic!("{error}"),
            }
        }
    }
    Ok(())
}

fn publish(store: &Store, manifest: &Manifest, kind: ArtifactKind) -> Result<Manifest, StoreError> {
    store.publish_download(manifest, kind, &mut |_| {})
}

/// A model of several files, one of them empty and two of them equal.
fn model(fixture: &Fixture) -> Manifest {
    fixture.write("m/model.gguf", &gguf_file(&[("w", 64), ("v", 3 << 20)]));
    fixture.write("m/empty", b"");
    fixture.write("m/a", &noise(100_000, 1));
    let path = fixture.write("m/b", &noise(100_000, 1));
    import_model(&fixture.open(), &path).unwrap()
}

#[test]
fn a_downloaded_model_is_what_an_imported_one_is() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let manifest = model(&here);
    let (from, to) = (here.open(), there.open());
    download(&from, &to, &manifest).unwrap();
    assert!(to.list().unwrap().is_empty(), "nothing enters before it was checked");
    assert_eq!(publish(&to, &manifest, ArtifactKind::Model).unwrap(), manifest);
    assert_eq!(to.get(&manifest.artifact_id()).unwrap(), manifest);
    assert_eq!(to.find(&manifest.model_id().unwrap().digest()).unwrap().len(), 1);
    for file in manifest.files() {
        to.read_all_verified(&file.blake3).unwrap();
        to.reader(&file.blake3).unwrap();
    }
    assert_eq!(files_below(&there.store_dir().join("partial")), 0);
    publish(&to, &manifest, ArtifactKind::Model).unwrap();
}

#[test]
fn what_lacks_bytes_does_not_enter_and_keeps_what_it_has() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let manifest = model(&here);
    let to = there.open();
    let refused = publish(&to, &manifest, ArtifactKind::Model);
    assert!(matches!(refused, Err(StoreError::Incomplete { missing_bytes, .. }) if missing_bytes > 0));
    download(&here.open(), &to, &manifest).unwrap();
    publish(&to, &manifest, ArtifactKind::Model).unwrap();
}

#[test]
fn tensors_and_parts_are_computed_and_not_taken_over() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let manifest = model(&here);
    let mut tensors = manifest.tensors().to_vec();
    tensors[0].blake3 = Digest32::ZERO;
    let forged = Manifest::model(manifest.files().to_vec(), tensors, Default::default()).unwrap();
    assert_eq!(forged.artifact_id(), manifest.artifact_id());
    let to = there.open();
    download(&here.open(), &to, &manifest).unwrap();
    assert_eq!(publish(&to, &forged, ArtifactKind::Model).unwrap(), manifest);
}

#[test]
fn files_that_do_not_make_the_artifact_are_refused_and_those_who_need_them_have_them() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let manifest = model(&here);
    let (from, to) = (here.open(), there.open());
    // The publisher pairs the SHA-256 of one file with the BLAKE3 of another.
    let mut files = manifest.files().to_vec();
    files[0].sha256 = Digest32::ZERO;
    let parts = *manifest.parts();
    let lying = Manifest::model(files, manifest.tensors().to_vec(), parts).unwrap();
    download(&from, &to, &lying).unwrap();
    let refused = publish(&to, &lying, ArtifactKind::Model);
    assert!(matches!(refused, Err(StoreError::OtherIds { found, .. }) if found == manifest.artifact_id()));
    assert!(to.list().unwrap().is_empty());
    publish(&to, &manifest, ArtifactKind::Model).unwrap();
    // No model at all.
    let dataset = import_dataset(&from, &here.write("d/x", &noise(50, 3))).unwrap();
    download(&from, &to, &dataset).unwrap();
    assert!(matches!(publish(&to, &dataset, ArtifactKind::Model), Err(StoreError::Manifest(_))));
    publish(&to, &dataset, ArtifactKind::Dataset).unwrap();
}

#[test]
fn only_what_the_disk_damaged_is_fetched_again() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let manifest = model(&here);
    let (from, to) = (here.open(), there.open());
    download(&from, &to, &manifest).unwrap();
    // What was synced is not read again before the ids are computed.
    for file in manifest.files() {
        to.partial(&file.blake3, file.size).unwrap().sync().unwrap();
    }
    let damaged = manifest.files().iter().find(|file| file.path.as_str() == "a").unwrap();
    let name = damaged.blake3.to_string();
    let name = format!("{}-{}.data", name.trim_start_matches("0x"), damaged.size);
    let path = there.store_dir().join("partial").join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[70_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = publish(&to, &manifest, ArtifactKind::Model);
    assert!(
        matches!(refused, Err(StoreError::CorruptBlob { expected, .. }) if expected == damaged.blake3),
        "{refused:?}"
    );
    let missing = |file: &FileEntry| to.partial(&file.blake3, file.size).unwrap().missing_bytes();
    for file in manifest.files() {
        let expected = if file.blake3 == damaged.blake3 { file.size } else { 0 };
        assert_eq!(missing(file), expected, "{}", file.path);
    }
    download(&from, &to, &manifest).unwrap();
    publish(&to, &manifest, ArtifactKind::Model).unwrap();
}

#[test]
fn a_download_survives_a_kill_at_every_step() {
    let here = Fixture::new();
    let manifest = import_model(&here.open(), &here.gguf_model("m")).unwrap();
    let from = here.open();
    survives_a_kill_at_every_step(
        |_, _| {},
        |_, store| {
            download(&from, store, &manifest)?;
            publish(store, &manifest, ArtifactKind::Model).map(drop)
        },
    );
}

#[test]
fn downloads_that_share_a_blob_share_its_bytes() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let from = here.open();
    let (a, b) = (here.gguf_model("a"), here.gguf_model("b"));
    let (a, b) = (import_model(&from, &a).unwrap(), import_model(&from, &b).unwrap());
    let to = there.open();
    download(&from, &to, &a).unwrap();
    let shared = &a.files()[1];
    let open = to.partial(&shared.blake3, shared.size).unwrap();
    publish(&to, &a, ArtifactKind::Model).unwrap();
    assert_eq!(open.missing_bytes(), 0, "whoever has it open keeps it");
    download(&from, &to, &b).unwrap();
    publish(&to, &b, ArtifactKind::Model).unwrap();
}

/// Two models with a blob in common.
fn with_shared_blob(fixture: &Fixture) -> [Manifest; 2] {
    let from = fixture.open();
    ["a", "b"].map(|name| import_model(&from, &fixture.gguf_model(name)).unwrap())
}

#[test]
fn two_publishers_of_a_blob_do_not_take_it_from_each_other() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let [a, b] = with_shared_blob(&here);
    let (from, to) = (here.open(), there.open());
    download(&from, &to, &a).unwrap();
    download(&from, &to, &b).unwrap();
    let shared = &a.files()[1];
    let mut again = None;
    let published = to.publish_download(&b, ArtifactKind::Model, &mut |now| {
        if again.is_none() {
            assert_ne!(now.path, &shared.path, "the shared file is still to be read");
            publish(&to, &a, ArtifactKind::Model).unwrap();
            // A third one begins anew, and holds nothing yet.
            again = Some(to.partial(&shared.blake3, shared.size).unwrap());
        }
    });
    assert_eq!(published.unwrap(), b);
    assert!(again.is_some_and(|again| again.missing_bytes() == shared.size));
    to.read_all_verified(&shared.blake3).unwrap();
}

#[test]
fn a_damaged_blob_of_the_store_is_fetched_anew_and_nothing_else_is() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let [a, b] = with_shared_blob(&here);
    let (from, to) = (here.open(), there.open());
    download(&from, &to, &a).unwrap();
    publish(&to, &a, ArtifactKind::Model).unwrap();
    let (own, shared) = (&b.files()[0], &b.files()[1]);
    let path = to.layout.blob_path(&shared.blake3);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    download(&from, &to, &b).unwrap();
    let refused = publish(&to, &b, ArtifactKind::Model);
    assert!(
        matches!(refused, Err(StoreError::CorruptBlob { expected, .. }) if expected == shared.blake3),
        "{refused:?}"
    );
    assert!(to.missing(&own.blake3, own.size).unwrap().is_empty());
    let missing = to.missing(&shared.blake3, shared.size).unwrap();
    assert!(matches!(&missing[..], [all] if *all == (0..shared.size)), "{missing:?}");
    assert!(!to.holds_all(&a).unwrap());
    download(&from, &to, &b).unwrap();
    publish(&to, &b, ArtifactKind::Model).unwrap();
    assert!(to.holds_all(&a).unwrap());
    to.read_all_verified(&shared.blake3).unwrap();
}
