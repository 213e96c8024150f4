mod download;
mod encoding;
mod ranges;
mod room;

use super::*;
use assay_manifest::canonical::gguf_part_ids;
use assay_manifest::formats::{DType, gguf, safetensors};
use assay_manifest::{ArtifactId, ArtifactKind, Digest32, Manifest, sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn store_dir(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn open(&self) -> Store {
        Store::open(&self.store_dir()).unwrap()
    }

    /// Writes a file below `source/` and returns the path of `source/<first component>`.
    fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let source = self.dir.path().join("source");
        let location = source.join(path);
        fs::create_dir_all(location.parent().unwrap()).unwrap();
        fs::write(&location, content).unwrap();
        source.join(path.split('/').next().unwrap())
    }

    /// A model directory `name` with a GGUF file, and a README that makes it unique.
    fn gguf_model(&self, name: &str) -> PathBuf {
        self.write(&format!("{name}/model.gguf"), &gguf_file(&[("w", 64)]));
        self.write(&format!("{name}/README.md"), name.as_bytes())
    }
}

fn blake3_of(bytes: &[u8]) -> Digest32 {
    Digest32::from_bytes(blake3::hash(bytes).into())
}

/// Bytes without a period that a chunk could hide.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn metadata() -> gguf::Metadata {
    let text = |text: &str| gguf::Value::String(text.to_owned());
    gguf::Metadata::from([
        ("general.architecture".to_owned(), text("llama")),
        ("llama.block_count".to_owned(), gguf::Value::U32(1)),
        ("tokenizer.chat_template".to_owned(), text("{{x}}")),
    ])
}

/// A GGUF file with tensors of these names and lengths.
fn gguf_file(tensors: &[(&str, u64)]) -> Vec<u8> {
    let data: Vec<_> = (0u8..).zip(tensors).map(|(i, (_, len))| noise(*len as usize, i)).collect();
    let dims: Vec<_> = tensors.iter().map(|(_, len)| [*len]).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .zip(data.iter().zip(&dims))
        .map(|((name, _), (data, dims))| gguf::TensorData { name, dtype: DType::I8, dims, data })
        .collect();
    let mut bytes = Vec::new();
    gguf::write(&mut bytes, &metadata(), &tensors).unwrap();
    bytes
}

fn safetensors_file(name: &str) -> Vec<u8> {
    let tensor = safetensors::TensorData { name, dtype: DType::U8, shape: &[2, 2], data: &[1, 2, 3, 4] };
    let mut bytes = Vec::new();
    safetensors::write(&mut bytes, &BTreeMap::new(), &[tensor]).unwrap();
    bytes
}

fn import_model(store: &Store, path: &Path) -> Result<Manifest, StoreError> {
    store.import(path, ArtifactKind::Model, &mut |_| {})
}

fn import_dataset(store: &Store, path: &Path) -> Result<Manifest, StoreError> {
    store.import(path, ArtifactKind::Dataset, &mut |_| {})
}

fn files_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[test]
fn one_pass_gives_the_hashes_of_files_and_of_tensors_that_cross_buffers() {
    let fixture = Fixture::new();
    let lengths = [("a", 1), ("b", 3 << 20), ("c", (1 << 20) + 77), ("d", 31)];
    let bytes = gguf_file(&lengths);
    let path = fixture.write("model.gguf", &bytes);
    let store = fixture.open();
    let manifest = import_model(&store, &path).unwrap();

    let [file] = manifest.files() else { panic!("one file") };
    assert_eq!((file.path.as_str(), file.size), ("model.gguf", bytes.len() as u64));
    assert_eq!((file.sha256, file.blake3), (sha256(&bytes), blake3_of(&bytes)));
    let expected: Vec<_> =
        (0u8..).zip(lengths).map(|(i, (_, len))| blake3_of(&noise(len as usize, i))).collect();
    let found: Vec<_> = manifest.tensors().iter().map(|tensor| tensor.blake3).collect();
    assert_eq!(found, expected);
    assert_eq!(manifest.parts(), &gguf_part_ids(&metadata()));
    assert_eq!(store.read_all_verified(&file.blake3).unwrap(), bytes);
    assert_eq!(store.get(&manifest.artifact_id()).unwrap(), manifest);
}

#[test]
fn a_directory_is_imported_whole_but_for_git_and_progress_ends_at_the_total() {
    let fixture = Fixture::new();
    fixture.write("m/.gitattributes", b"x");
    fixture.write("m/.git/HEAD", b"x");
    fixture.write("m/sub/.gitkeep", b"");
    fixture.write("m/a.safetensors", &safetensors_file("a"));
    fixture.write("m/b.safetensors", &safetensors_file("b"));
    let path = fixture.write("m/config.json", b"{}");
    let store = fixture.open();
    let mut last = (0, 1);
    let mut on_progress = |progress: Progress<'_>| last = (progress.bytes_done, progress.bytes_total);
    let manifest = store.import(&path, ArtifactKind::Model, &mut on_progress).unwrap();
    let paths: Vec<_> = manifest.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a.safetensors", "b.safetensors", "config.json", "sub/.gitkeep"]);
    assert_eq!(manifest.tensors().len(), 2);
    assert_ne!(manifest.parts().config_id, Default::default());
    assert_eq!(last, (manifest.size_bytes(), manifest.size_bytes()));
}

#[test]
fn weights_keep_their_id_in_other_shards() {
    let fixture = Fixture::new();
    fixture.write("split/1.safetensors", &safetensors_file("a"));
    let split = fixture.write("split/2.safetensors", &safetensors_file("b"));
    let tensor =
        |name| safetensors::TensorData { name, dtype: DType::U8, shape: &[2, 2], data: &[1, 2, 3, 4] };
    let mut bytes = Vec::new();
    safetensors::write(&mut bytes, &BTreeMap::new(), &[tensor("a"), tensor("b")]).unwrap();
    let whole = fixture.write("whole.safetensors", &bytes);
    let store = fixture.open();
    let (split, whole) = (import_model(&store, &split).unwrap(), import_model(&store, &whole).unwrap());
    assert_eq!(split.weights_id(), whole.weights_id());
    assert_ne!(split.artifact_id(), whole.artifact_id());
    assert_eq!(store.find(&whole.weights_id().digest()).unwrap().len(), 2);
}

#[test]
fn equal_content_is_stored_once() {
    let fixture = Fixture::new();
    fixture.write("d/a", b"same");
    let path = fixture.write("d/b/c", b"same");
    let store = fixture.open();
    import_dataset(&store, &path).unwrap();
    import_dataset(&store, &path).unwrap();
    assert_eq!(files_below(&fixture.store_dir().join("blobs")), 1);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_refused_and_leave_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let dir = fixture.write("d/a", b"content");
    let link = dir.join("link");
    for target in ["/etc/passwd", "a", ".", "nowhere"] {
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert!(matches!(import_dataset(&store, &dir), Err(StoreError::Symlink(path)) if path == link));
        assert!(matches!(import_dataset(&store, &link), Err(StoreError::Symlink(_))));
        fs::remove_file(&link).unwrap();
    }
    let socket = dir.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(import_dataset(&store, &dir), Err(StoreError::SpecialFile(path)) if path == socket));
    assert_eq!(files_below(&fixture.store_dir().join("blobs")), 0);
    assert_eq!(files_below(&fixture.store_dir().join("tmp")), 0);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn what_is_not_one_whole_model_is_refused_and_leaves_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let whole = gguf_file(&[("w", 64)]);

    let cut = fixture.write("cut.gguf", &whole[..whole.len() - 40]);
    assert!(matches!(import_model(&store, &cut), Err(StoreError::Gguf { .. })));
    let cut = fixture.write("cut.safetensors", &safetensors_file("a")[..20]);
    assert!(matches!(import_model(&store, &cut), Err(StoreError::Safetensors { .. })));

    fixture.write("two/a.gguf", &whole);
    let two = fixture.write("two/b.gguf", &gguf_file(&[("v", 64)]));
    assert!(matches!(import_model(&store, &two), Err(StoreError::SeveralModels)));
    fixture.write("mixed/a.gguf", &whole);
    let mixed = fixture.write("mixed/b.safetensors", &safetensors_file("b"));
    assert!(matches!(import_model(&store, &mixed), Err(StoreError::SeveralModels)));
    fixture.write("twice/a.safetensors", &safetensors_file("b"));
    let twice = fixture.write("twice/b.safetensors", &safetensors_file("b"));
    assert!(matches!(import_model(&store, &twice), Err(StoreError::Manifest(_))));
    let none = fixture.write("none/README.md", b"nothing");
    assert!(matches!(import_model(&store, &none), Err(StoreError::Manifest(_))));
    fixture.write("bad/config.json", b"{");
    let bad = fixture.write("bad/a.safetensors", &safetensors_file("b"));
    assert!(matches!(import_model(&store, &bad), Err(StoreError::Canonical(_))));
    let empty = fixture.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(import_dataset(&store, &empty), Err(StoreError::Manifest(_))));

    assert_eq!(files_below(&fixture.store_dir().join("blobs")), 0);
    assert_eq!(files_below(&fixture.store_dir().join("tmp")), 0);
}

#[test]
fn the_same_files_are_not_both_model_and_dataset() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let path = fixture.gguf_model("m");
    let manifest = import_model(&store, &path).unwrap();
    assert!(matches!(import_dataset(&store, &path), Err(StoreError::OtherKind(_))));
    store.remove(&manifest.artifact_id()).unwrap();
    assert!(import_dataset(&store, &path).is_ok());
}

#[test]
fn every_id_finds_its_artifact_after_the_index_was_lost_or_damaged() {
    let fixture = Fixture::new();
    let manifest = import_model(&fixture.open(), &fixture.gguf_model("m")).unwrap();
    let id = manifest.artifact_id();
    let name = "tiny".parse().unwrap();
    fixture.open().set_name(&name, &id).unwrap();
    let digests = [
        (id.digest(), IdKind::Artifact),
        (manifest.weights_id().digest(), IdKind::Weights),
        (manifest.model_id().unwrap().digest(), IdKind::Model),
        (manifest.oms_digest(), IdKind::Oms),
        (manifest.files()[1].sha256, IdKind::FileSha256),
        (manifest.files()[1].blake3, IdKind::FileBlake3),
    ];
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("nothing", |_| {}),
        ("directory gone", |dir| fs::remove_dir_all(dir).unwrap()),
        ("configuration is noise", |dir| fs::write(dir.join("conf"), noise(200, 1)).unwrap()),
        ("log is noise", |dir| fs::write(dir.join("db"), noise(1 << 16, 2)).unwrap()),
        ("log is empty", |dir| fs::write(dir.join("db"), []).unwrap()),
    ];
    for (reason, damage) in damages {
        damage(&fixture.store_dir().join("index"));
        let store = fixture.open();
        for (digest, kind) in digests {
            assert_eq!(store.find(&digest).unwrap(), [Match { kind, artifact_id: id }], "{reason}");
        }
        assert_eq!(store.by_name(&name).unwrap(), id, "{reason}");
        assert_eq!(store.names().unwrap().len(), 1, "{reason}");
        assert!(store.find(&Digest32::ZERO).unwrap().is_empty());
    }
}

#[test]
fn a_store_is_open_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    assert!(matches!(Store::open(&fixture.store_dir()), Err(StoreError::Locked(_))));
    drop(store);
    fixture.open();
}

#[test]
fn damaged_and_missing_blobs_are_errors_until_they_are_imported_again() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let path = fixture.write("data", b"content");
    let blake3 = import_dataset(&store, &path).unwrap().files()[0].blake3;
    let blob = only_file(&fixture.store_dir().join("blobs"));
    for damaged in [b"Content".as_slice(), b"", b"content!"] {
        fs::write(&blob, damaged).unwrap();
        let found = blake3_of(damaged);
        for refused in [store.open_verified(&blake3).map(drop), store.read_all_verified(&blake3).map(drop)] {
            assert!(matches!(refused, Err(StoreError::CorruptBlob { found: f, .. }) if f == found));
        }
    }
    fs::remove_file(&blob).unwrap();
    assert!(matches!(store.open_verified(&blake3), Err(StoreError::UnknownBlob(_))));
    import_dataset(&store, &path).unwrap();
    assert_eq!(store.read_all_verified(&blake3).unwrap(), b"content");
    let read = std::io::read_to_string(store.open_verified(&blake3).unwrap()).unwrap();
    assert_eq!(read, "content");
}

/// The only file below a directory.
fn only_file(dir: &Path) -> PathBuf {
    let only = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
    if only.is_dir() { only_file(&only) } else { only }
}

#[test]
fn a_damaged_manifest_is_listed_refused_and_can_be_removed() {
    let fixture = Fixture::new();
    let id = import_model(&fixture.open(), &fixture.gguf_model("m")).unwrap().artifact_id();
    let path = only_file(&fixture.store_dir().join("manifests"));
    let whole = fs::read(&path).unwrap();
    // Past the files, which the artifact's id binds: only the checksum guards the tensors.
    let mut damaged = whole.clone();
    let at = whole.len() - 100;
    damaged[at] ^= 1;
    for bytes in [damaged.as_slice(), &whole[..whole.len() - 1], b""] {
        fs::write(&path, bytes).unwrap();
        let store = fixture.open();
        assert!(matches!(store.get(&id), Err(StoreError::CorruptManifest(_))));
        assert!(matches!(store.collect_garbage(), Err(StoreError::CorruptManifest(_))));
        assert!(store.list().unwrap().contains(&id));
    }
    let store = fixture.open();
    store.remove(&id).unwrap();
    assert!(store.list().unwrap().is_empty());
    assert_eq!(store.collect_garbage().unwrap(), 2);
}

#[test]
fn removing_keeps_what_others_share_and_forgets_names() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (a, b) = (fixture.gguf_model("a"), fixture.gguf_model("b"));
    let (a, b) = (import_model(&store, &a).unwrap(), import_model(&store, &b).unwrap());
    let name = "mine".parse().unwrap();
    store.set_name(&name, &a.artifact_id()).unwrap();
    store.remove(&a.artifact_id()).unwrap();
    assert!(matches!(store.get(&a.artifact_id()), Err(StoreError::UnknownArtifact(_))));
    assert!(matches!(store.remove(&a.artifact_id()), Err(StoreError::UnknownArtifact(_))));
    assert!(matches!(store.set_name(&name, &a.artifact_id()), Err(StoreError::UnknownArtifact(_))));
    assert!(matches!(store.by_name(&name), Err(StoreError::UnknownName(_))));
    for file in b.files() {
        store.read_all_verified(&file.blake3).unwrap();
    }
    assert_eq!(files_below(&fixture.store_dir().join("blobs")), 2);
    assert_eq!(store.collect_garbage().unwrap(), 0);
}

/// Kills `change` before each of its steps, opens the store again and checks that it is whole.
fn survives_a_kill_at_every_step(
    prepare: impl Fn(&Fixture, &Store),
    change: impl Fn(&Fixture, &Store) -> Result<(), StoreError>,
) {
    for steps in 0.. {
        let fixture = Fixture::new();
        let store = fixture.open();
        prepare(&fixture, &store);
        store.layout.steps_left.store(steps, Ordering::Relaxed);
        let finished = change(&fixture, &store).is_ok();
        drop(store);
        fs::write(fixture.store_dir().join("tmp/left"), b"half").unwrap();

        let store = fixture.open();
        assert_eq!(files_below(&fixture.store_dir().join("tmp")), 0);
        for id in store.list().unwrap() {
            let manifest = store.get(&id).unwrap();
            let weights = store.find(&manifest.weights_id().digest()).unwrap();
            assert!(weights.iter().any(|found| found.artifact_id == id));
            for file in manifest.files() {
                store.read_all_verified(&file.blake3).unwrap();
            }
        }
        for (_, id) in store.names().unwrap() {
            store.get(&id).unwrap();
        }
        store.collect_garbage().unwrap();
        let named: std::collections::HashSet<_> = store
            .list()
            .unwrap()
            .iter()
            .flat_map(|id| store.get(id).unwrap().files().to_vec())
            .map(|file| file.blake3)
            .collect();
        assert_eq!(files_below(&fixture.store_dir().join("blobs")), named.len());
        change(&fixture, &store).unwrap();
        if finished {
            assert!(steps > 2, "the change has steps");
            return;
        }
    }
}

#[test]
fn an_import_survives_a_kill_at_every_step() {
    survives_a_kill_at_every_step(
        |_, _| {},
        |fixture, store| import_model(store, &fixture.gguf_model("m")).map(drop),
    );
}

#[test]
fn naming_survives_a_kill_at_every_step() {
    let id = |store: &Store| *store.list().unwrap().first().unwrap();
    survives_a_kill_at_every_step(
        |fixture, store| drop(import_model(store, &fixture.gguf_model("m")).unwrap()),
        |_, store| store.set_name(&"n".parse().unwrap(), &id(store)),
    );
}

#[test]
fn removal_survives_a_kill_at_every_step() {
    survives_a_kill_at_every_step(
        |fixture, store| {
            let id = import_model(store, &fixture.gguf_model("m")).unwrap().artifact_id();
            store.set_name(&"n".parse().unwrap(), &id).unwrap();
            import_model(store, &fixture.gguf_model("other")).unwrap();
        },
        |_, store| {
            let is_m = |id: &ArtifactId| store.get(id).unwrap().files()[0].size == 1;
            store.list()?.iter().filter(|id| is_m(id)).try_for_each(|id| store.remove(id))
        },
    );
}

#[test]
fn importing_and_collecting_garbage_at_once_loses_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let paths: Vec<_> = (0..8).map(|i| fixture.gguf_model(&format!("m{i}"))).collect();
    std::thread::scope(|scope| {
        for paths in paths.chunks(4) {
            scope.spawn(|| paths.iter().for_each(|path| drop(import_model(&store, path).unwrap())));
        }
        scope.spawn(|| {
            for _ in 0..20 {
                store.collect_garbage().unwrap();
            }
        });
    });
    let ids = store.list().unwrap();
    assert_eq!(ids.len(), 8);
    for file in ids.iter().flat_map(|id| store.get(id).unwrap().files().to_vec()) {
        store.read_all_verified(&file.blake3).unwrap();
    }
}

#[test]
fn files_that_have_not_the_expected_id_leave_nothing_behind() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let path = fixture.gguf_model("a");
    let mut nothing = |_: Progress<'_>| {};
    let expected = Digest32::from_bytes([9; 32]);
    let refused = store.import_expecting(&path, ArtifactKind::Model, &expected, &mut nothing);
    assert!(matches!(refused, Err(StoreError::OtherIds { expected: named, .. }) if named == expected));
    assert_eq!(store.list().unwrap().len(), 0);
    // A hash of one file is as good as the id of the whole: everything is computed in the same read.
    let oid = sha256(&gguf_file(&[("w", 64)]));
    let manifest = store.import_expecting(&path, ArtifactKind::Model, &oid, &mut nothing).unwrap();
    for id in [manifest.artifact_id().digest(), manifest.model_id().unwrap().digest()] {
        assert!(store.import_expecting(&path, ArtifactKind::Model, &id, &mut nothing).is_ok());
    }
}
