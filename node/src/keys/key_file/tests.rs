use super::*;

/// Written by other programs: argon2-cffi for the key, libsodium through PyNaCl for the cipher, and Python's
/// hashlib. The words are Substrate's development phrase.
const KNOWN: &str = r#"{
  "format": "assay-key",
  "version": 1,
  "address": "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV",
  "kdf": {
    "name": "argon2id",
    "cost": {
      "memoryKib": 65536,
      "passes": 3,
      "lanes": 1
    },
    "salt": "0x000102030405060708090a0b0c0d0e0f"
  },
  "cipher": {
    "name": "xchacha20-poly1305",
    "nonce": "0x6465666768696a6b6c6d6e6f707172737475767778797a7b",
    "ciphertext": "0x7e6dba9c7da7059c2ded2d6e720f7684cc7effeb8b0e65b2e56befdc4f691448"
  },
  "checksum": "0x84dad521b61abe757aeac041dc530dfae910235ae706a54bf388c795cd07c793"
}
"#;
const KNOWN_PASSPHRASE: &str = "cafe\u{301} \u{2460} au lait";
const KNOWN_WORDS: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

fn parse(text: &str) -> Result<LockedKey, KeyError> {
    LockedKey::parse(KeyRef::parse("known//Alice").unwrap(), Path::new("known.json"), text.as_bytes())
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

#[test]
fn a_file_of_other_programs_opens_and_is_written_as_it_was_read() {
    let locked = parse(KNOWN).unwrap();
    assert_eq!(locked.words(&passphrase(KNOWN_PASSPHRASE)).unwrap().phrase().unwrap().as_str(), KNOWN_WORDS);
    let alice = Key::development("//Alice").unwrap();
    assert_eq!(locked.unlock(&passphrase(KNOWN_PASSPHRASE)).unwrap().account(), alice.account());
    assert_eq!(String::from_utf8(locked.text().unwrap()).unwrap(), KNOWN);
}

#[test]
fn a_wrong_passphrase_is_told_from_damage() {
    let wrong = parse(KNOWN).unwrap().unlock(&passphrase("cafe 1 au lait"));
    assert!(matches!(wrong, Err(KeyError::WrongPassphrase(name)) if name == "known"));
}

#[test]
fn every_damaged_byte_of_what_is_bound_is_noticed() {
    for (field, digits) in [("salt", 32), ("nonce", 48), ("ciphertext", 64), ("checksum", 64)] {
        let start = KNOWN.find(&format!("\"{field}\": \"0x")).unwrap() + field.len() + 7;
        for at in (start..start + digits).step_by(2) {
            let mut bytes = KNOWN.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'f' { b'0' } else { b'f' };
            let damaged = parse(std::str::from_utf8(&bytes).unwrap());
            assert!(matches!(damaged, Err(KeyError::Damaged { .. })), "{field} at {at}");
        }
    }
    for (from, to) in [
        ("65536", "65537"),
        ("\"passes\": 3", "\"passes\": 2"),
        ("\"lanes\": 1", "\"lanes\": 2"),
        (
            "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        ),
        ("EqRzV", "EqRzW"),
        ("argon2id", "argon2i"),
        ("xchacha20", "chacha20"),
        ("0x0001", "0x01"),
        ("0x0001", "0001"),
        ("\"lanes\": 1", "\"lanes\": 1, \"more\": 1"),
        ("assay-key", "other"),
        ("}\n", ""),
    ] {
        let damaged = parse(&KNOWN.replacen(from, to, 1));
        assert!(matches!(damaged, Err(KeyError::Damaged { .. })), "{from} → {to}");
    }
    assert!(matches!(parse(""), Err(KeyError::Damaged { .. })));
}

/// Whoever can write the file can also make its checksum right; then the cipher refuses.
#[test]
fn what_somebody_altered_does_not_open() {
    let known = parse(KNOWN).unwrap();
    let bob = Key::development("//Bob").unwrap().account();
    let mut flipped = known.ciphertext.clone();
    flipped[0] ^= 1;
    let altered = [
        LockedKey { account: bob, ..known.clone() },
        LockedKey { ciphertext: flipped, ..known.clone() },
        LockedKey { ciphertext: known.ciphertext[1..].to_vec(), ..known.clone() },
        LockedKey { salt: [9; SALT_BYTES], ..known.clone() },
        LockedKey { nonce: [9; NONCE_BYTES], ..known },
    ];
    for (number, altered) in altered.into_iter().enumerate() {
        let text = String::from_utf8(altered.text().unwrap()).unwrap();
        let opened = parse(&text).unwrap().words(&passphrase(KNOWN_PASSPHRASE));
        assert!(matches!(opened, Err(KeyError::WrongPassphrase(_))), "alteration {number}");
    }
}

#[test]
fn other_versions_and_costs_past_all_reason_are_refused() {
    let newer = parse(&KNOWN.replace("\"version\": 1", "\"version\": 2, \"unknown\": true"));
    assert!(matches!(newer, Err(KeyError::OtherVersion { found: 2, .. })));
    for (from, to) in [("65536", "4294967295"), ("\"passes\": 3", "\"passes\": 65"), ("65536", "1")] {
        let told = parse(&KNOWN.replace(from, to)).unwrap_err().to_string();
        assert!(told.contains("memory"), "{told}");
    }
}

#[test]
fn two_seals_of_the_same_words_have_nothing_in_common() {
    let words = Words::parse(KNOWN_WORDS).unwrap();
    let seal =
        || LockedKey::seal(KeyRef::parse("x").unwrap(), &words, &passphrase(KNOWN_PASSPHRASE)).unwrap();
    let (first, second) = (seal(), seal());
    assert_eq!(first.account, second.account);
    assert_ne!(first.salt, second.salt);
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.ciphertext, second.ciphertext);
    assert!(!format!("{first:?}").contains("bottom"));
}
