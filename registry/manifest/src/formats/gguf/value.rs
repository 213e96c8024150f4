//! Metadata values.

macro_rules! values {
    ($($name:ident($type:ty) = $id:literal, $text:literal;)+) => {
        /// A metadata value.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Value {
            $($name($type),)+
            Array(Array),
        }

        /// Items of one type.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Array {
            $($name(Vec<$type>),)+
        }

        impl Value {
            /// Name of the type, for messages.
            pub const fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $text,)+
                    Self::Array(array) => array.type_name(),
                }
            }

            /// Number of the type in files.
            pub const fn type_id(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $id,)+
                    Self::Array(_) => ARRAY_TYPE_ID,
                }
            }
        }

        impl Array {
            /// Name of the type, for messages.
            pub const fn type_name(&self) -> &'static str {
                match self { $(Self::$name(_) => concat!("array of ", $text),)+ }
            }

            /// Number of the items' type in files.
            pub const fn item_type_id(&self) -> u32 {
                match self { $(Self::$name(_) => $id,)+ }
            }

            /// Number of items.
            pub fn len(&self) -> usize {
                match self { $(Self::$name(items) => items.len(),)+ }
            }

            /// Whether there is no item.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

pub(super) const ARRAY_TYPE_ID: u32 = 9;

// `gguf_metadata_value_type` of the specification.
values! {
    U8(u8) = 0, "u8";
    I8(i8) = 1, "i8";
    U16(u16) = 2, "u16";
    I16(i16) = 3, "i16";
    U32(u32) = 4, "u32";
    I32(i32) = 5, "i32";
    F32(f32) = 6, "f32";
    Bool(bool) = 7, "bool";
    String(String) = 8, "string";
    U64(u64) = 10, "u64";
    I64(i64) = 11, "i64";
    F64(f64) = 12, "f64";
}

/// A Rust type that metadata can be asked for.
pub trait FromValue<'a>: Sized {
    /// Name of the type, for messages.
    const EXPECTED: &'static str;

    /// The value as this type, without loss.
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl FromValue<'_> for u64 {
    const EXPECTED: &'static str = "an integer from 0 on";

    fn from_value(value: &Value) -> Option<Self> {
        match *value {
            Value::U8(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::U64(n) => Some(n),
            Value::I8(n) => n.try_into().ok(),
            Value::I16(n) => n.try_into().ok(),
            Value::I32(n) => n.try_into().ok(),
            Value::I64(n) => n.try_into().ok(),
            _ => None,
        }
    }
}

impl FromValue<'_> for u32 {
    const EXPECTED: &'static str = "an integer of 32 bits from 0 on";

    fn from_value(value: &Value) -> Option<Self> {
        u64::from_value(value)?.try_into().ok()
    }
}

impl FromValue<'_> for f32 {
    const EXPECTED: &'static str = "f32";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::F32(number) => Some(*number),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "bool";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "string";

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

macro_rules! array_from_value {
    ($($type:ty, $name:ident, $text:literal;)+) => {$(
        impl<'a> FromValue<'a> for &'a [$type] {
            const EXPECTED: &'static str = concat!("array of ", $text);

            fn from_value(value: &'a Value) -> Option<Self> {
                match value {
                    Value::Array(Array::$name(items)) => Some(items),
                    _ => None,
                }
            }
        }
    )+};
}

array_from_value! {
    String, String, "string";
    i32, I32, "i32";
    u32, U32, "u32";
    f32, F32, "f32";
    bool, Bool, "bool";
}
