//! Power is lost in the middle of a batch.
//!
//! redb works on a disk of ours, which fails at each of its operations in turn. sled knows no disk but the file
//! system: its files are put together from those before a batch and those after it, sector by sector.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assay_node::adapters::{RedbKv, SledKv};
use assay_runtime::executor::Kv;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::batches::{batch, survived, whole};
use crate::disk::{Disk, SECTOR_BYTES};

/// Batches of a run: enough for the store to free and reuse pages.
const BATCHES: u32 = 8;
/// Ways of tearing what was not synced.
const TEARS: u64 = 3;

#[test]
fn redb_is_whole_whenever_power_is_lost() {
    let created = Disk::with(vec![]);
    drop(RedbKv::open_in(created.clone()).unwrap());
    let undisturbed = Disk::with(created.contents());
    assert_eq!(write(&undisturbed), BATCHES);
    let operations = undisturbed.operations();
    assert!(operations > 50, "{operations} operations are too few to mean anything");
    for (cut, seed) in (0..operations).flat_map(|cut| (0..TEARS).map(move |seed| (cut, seed))) {
        let disk = Disk::with(created.contents());
        disk.fail_after(cut);
        let acknowledged = write(&disk);
        let mut dice = StdRng::seed_from_u64(cut * TEARS + seed);
        let left = disk.after_power_loss(&mut dice);
        // The power may go again while the store is being repaired.
        let again = Disk::with(left.clone());
        again.fail_after(dice.gen_range(0..12));
        drop(RedbKv::open_in(again.clone()));
        for left in [left, again.after_power_loss(&mut dice)] {
            let kv = RedbKv::open_in(Disk::with(left))
                .unwrap_or_else(|error| panic!("cut {cut}, seed {seed}: {error}"));
            survived(&kv, acknowledged);
        }
    }
}

/// Writes until the disk fails; how many batches were acknowledged.
fn write(disk: &Disk) -> u32 {
    let Ok(kv) = RedbKv::open_in(disk.clone()) else { return 0 };
    (1..=BATCHES).take_while(|number| kv.commit(batch(*number)).is_ok()).count() as u32
}

#[test]
fn sled_is_whole_whenever_power_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let kv = SledKv::open(&dir.path().join("written")).unwrap();
    let mut before = Files::read(&dir.path().join("written"));
    let mut dice = StdRng::seed_from_u64(1);
    for number in 1..=BATCHES {
        kv.commit(batch(number)).unwrap();
        let after = Files::read(&dir.path().join("written"));
        for tear in 0..12 {
            let path = dir.path().join(format!("{number}-{tear}"));
            before.torn(&after, &mut dice).write(&path);
            let torn = SledKv::open(&path).unwrap_or_else(|error| panic!("batch {number}, {tear}: {error}"));
            survived(&torn, number - 1);
        }
        before = after;
    }
}

/// The files of a directory.
#[derive(Clone)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    pub fn read(dir: &Path) -> Self {
        let files = fs::read_dir(dir).unwrap().map(Result::unwrap);
        let files = files.filter(|file| file.file_type().unwrap().is_file());
        Self(
            files
                .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
                .collect(),
        )
    }

    pub fn write(&self, dir: &Path) {
        fs::create_dir(dir).unwrap();
        for (name, bytes) in &self.0 {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }

    /// These, with a part of what is different in `after`.
    pub fn torn(&self, after: &Self, dice: &mut StdRng) -> Self {
        let luck = [0.0, 0.1, 0.5, 0.9, 1.0][dice.gen_range(0..5)];
        let mut torn = self.clone();
        for (name, new) in &after.0 {
            let old = torn.0.entry(name.clone()).or_default();
            let grown = if dice.gen_bool(luck) { new.len() } else { old.len() };
            old.resize(grown.max(old.len()), 0);
            for (offset, sector) in (0..).step_by(SECTOR_BYTES).zip(new.chunks(SECTOR_BYTES)) {
                let end = (offset + sector.len()).min(old.len());
                if offset < end && old[offset..end] != sector[..end - offset] && dice.gen_bool(luck) {
                    old[offset..end].copy_from_slice(&sector[..end - offset]);
                }
            }
        }
        torn
    }
}

#[test]
fn nothing_is_lost_by_an_orderly_end() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::with(vec![]);
    let redb = RedbKv::open_in(disk.clone()).unwrap();
    let sled = SledKv::open(&dir.path().join("sled")).unwrap();
    for number in 1..=BATCHES {
        redb.commit(batch(number)).unwrap();
        sled.commit(batch(number)).unwrap();
    }
    drop((redb, sled));
    assert_eq!(whole(&RedbKv::open_in(Disk::with(disk.contents())).unwrap()), BATCHES);
    Files::read(&dir.path().join("sled")).write(&dir.path().join("copy"));
    assert_eq!(whole(&SledKv::open(&dir.path().join("copy")).unwrap()), BATCHES);
}
