//! Calls of the runtime made up from its type information, so that calls that are added are tried unasked.

use std::sync::LazyLock;

use assay_node::keys::Key;
use assay_runtime::RuntimeCall;
use codec::{Compact, Encode};
use scale_info::form::PortableForm;
use scale_info::{MetaType, PortableRegistry, Registry, TypeDef, TypeDefPrimitive};

use crate::random::Random;

/// Calls within calls within calls, and then none.
const DEPTH_MAX: u32 = 24;
/// Amounts and heights at which rules change, for numbers of 16 bytes and of 4.
const AMOUNTS: [u128; 6] = [0, 1, 1_000, 1_000_000_000_000, 100_000_000_000_000_000, u128::MAX];
/// Accounts that have tokens.
pub const NAMES: [&str; 5] = ["//Alice", "//Bob", "//Provider//1", "//Provider//2", "//Provider//3"];

/// The accounts of [`NAMES`].
pub fn keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        NAMES.iter().map(|name| Key::development(name).expect("a development key")).collect()
    });
    &KEYS
}

struct Types {
    registry: PortableRegistry,
    call: u32,
}

fn types() -> &'static Types {
    static TYPES: LazyLock<Types> = LazyLock::new(|| {
        let mut registry = Registry::new();
        let call = registry.register_type(&MetaType::new::<RuntimeCall>()).id;
        Types { registry: registry.into(), call }
    });
    &TYPES
}

/// How many pallets the runtime has, and how many calls each of them.
pub fn counts() -> Vec<usize> {
    let pallets = variants(types().call);
    pallets.iter().map(|pallet| variants(pallet.fields[0].ty.id).len()).collect()
}

/// The SCALE bytes of some call.
pub fn any(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    Maker { random, bytes: &mut bytes }.value(types().call, DEPTH_MAX);
    bytes
}

/// The SCALE bytes of call number `call` of pallet number `pallet`, with some arguments.
pub fn of(pallet: usize, call: usize, random: &mut Random) -> Vec<u8> {
    let pallet = &variants(types().call)[pallet];
    let call = &variants(pallet.fields[0].ty.id)[call];
    let mut bytes = vec![pallet.index, call.index];
    let mut maker = Maker { random, bytes: &mut bytes };
    call.fields.iter().for_each(|field| maker.value(field.ty.id, DEPTH_MAX));
    bytes
}

fn variants(id: u32) -> &'static [scale_info::Variant<PortableForm>] {
    match &types().registry.resolve(id).expect("a registered type").type_def {
        TypeDef::Variant(variant) => &variant.variants,
        other => panic!("{other:?} has no variants"),
    }
}

struct Maker<'a> {
    random: &'a mut Random,
    bytes: &'a mut Vec<u8>,
}

impl Maker<'_> {
    /// Appends a value of a type. Past `depth` levels the first variant and empty lists must do.
    fn value(&mut self, id: u32, depth: u32) {
        let ty = types().registry.resolve(id).expect("a registered type");
        let deeper = depth.saturating_sub(1);
        match &ty.type_def {
            TypeDef::Composite(_) if ty.path.segments.last().is_some_and(|name| name == "AccountId32") => {
                let key = self.random.below(NAMES.len());
                self.bytes.extend_from_slice(keys()[key].account().as_ref());
            }
            TypeDef::Composite(composite) => {
                composite.fields.iter().for_each(|field| self.value(field.ty.id, deeper));
            }
            TypeDef::Variant(variant) => {
                let chosen = if depth == 0 { 0 } else { self.random.below(variant.variants.len()) };
                let Some(chosen) = variant.variants.get(chosen) else { return };
                self.bytes.push(chosen.index);
                chosen.fields.iter().for_each(|field| self.value(field.ty.id, deeper));
            }
            TypeDef::Sequence(sequence) => {
                let len = if depth == 0 { 0 } else { self.random.below(5) };
                self.bytes.extend(Compact(len as u32).encode());
                (0..len).for_each(|_| self.value(sequence.type_param.id, deeper));
            }
            TypeDef::Array(array) => {
                // A digest or a key: one of few, so that two of them may be the same.
                let first = self.random.below(4) as u8;
                if is_byte(array.type_param.id) {
                    self.bytes.extend((0..array.len).map(|_| first));
                } else {
                    (0..array.len).for_each(|_| self.value(array.type_param.id, deeper));
                }
            }
            TypeDef::Tuple(tuple) => tuple.fields.iter().for_each(|field| self.value(field.id, deeper)),
            TypeDef::Primitive(primitive) => self.primitive(primitive),
            TypeDef::Compact(_) => {
                let amount = self.amount();
                self.bytes.extend(Compact(amount).encode());
            }
            TypeDef::BitSequence(_) => self.bytes.push(0),
        }
    }

    fn primitive(&mut self, primitive: &TypeDefPrimitive) {
        let number = self.amount();
        match primitive {
            TypeDefPrimitive::Bool => self.bytes.push((number & 1) as u8),
            TypeDefPrimitive::U8 | TypeDefPrimitive::I8 => self.bytes.push(self.random.below(8) as u8),
            TypeDefPrimitive::U16 | TypeDefPrimitive::I16 => self.bytes.extend((number as u16).to_le_bytes()),
            TypeDefPrimitive::Char | TypeDefPrimitive::U32 | TypeDefPrimitive::I32 => {
                self.bytes.extend((number as u32).to_le_bytes());
            }
            TypeDefPrimitive::U64 | TypeDefPrimitive::I64 => self.bytes.extend((number as u64).to_le_bytes()),
            TypeDefPrimitive::U128 | TypeDefPrimitive::I128 => self.bytes.extend(number.to_le_bytes()),
            TypeDefPrimitive::U256 | TypeDefPrimitive::I256 => self.bytes.extend([0; 32]),
            TypeDefPrimitive::Str => self.bytes.extend("a/b".encode()),
        }
    }

    fn amount(&mut self) -> u128 {
        match self.random.below(3) {
            0 => self.random.below(100) as u128,
            1 => AMOUNTS[self.random.below(AMOUNTS.len())],
            _ => u128::from(self.random.near(1_000_000)),
        }
    }
}

fn is_byte(id: u32) -> bool {
    let ty = types().registry.resolve(id).expect("a registered type");
    matches!(ty.type_def, TypeDef::Primitive(TypeDefPrimitive::U8))
}
