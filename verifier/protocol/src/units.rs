//! Quantities of the protocol as distinct types: heights, amounts, tokens and prices.
//!
//! Arithmetic is checked; an overflow is an error that refuses the step, never a wrapped number.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount, price or height left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quantity left its range")]
pub struct OutOfRange;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
            DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
        )]
        pub struct $name($inner);

        impl $name {
            /// The zero of this quantity.
            pub const ZERO: Self = Self(0);

            /// Wraps a plain number at the edge where its unit is known.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The plain number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The sum.
            ///
            /// # Errors
            /// [`OutOfRange`] when it does not fit.
            pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
                self.0.checked_add(other.0).map(Self).ok_or(OutOfRange)
            }

            /// The difference.
            ///
            /// # Errors
            /// [`OutOfRange`] when `other` is larger.
            pub fn minus(self, other: Self) -> Result<Self, OutOfRange> {
                self.0.checked_sub(other.0).map(Self).ok_or(OutOfRange)
            }

            /// The product with a plain count.
            ///
            /// # Errors
            /// [`OutOfRange`] when it does not fit.
            pub fn times(self, count: u32) -> Result<Self, OutOfRange> {
                self.0.checked_mul(count.into()).map(Self).ok_or(OutOfRange)
            }

            /// The smaller of two.
            pub fn at_most(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity! {
    /// A block height; every deadline is one.
    Height(u32)
}
quantity! {
    /// An amount of tokens of the ledger, in base units (10⁻¹² ASY).
    Amount(u128)
}
quantity! {
    /// A price in base units per million model tokens.
    Price(u128)
}
quantity! {
    /// A count of model tokens.
    Tokens(u32)
}

/// Model tokens to which a [`Price`] refers.
const TOKENS_PER_PRICE: u128 = 1_000_000;

impl Amount {
    /// `self · parts / whole`, rounded up, so that a charge is never rounded away.
    ///
    /// # Errors
    /// [`OutOfRange`] when the product does not fit or `whole` is zero.
    pub fn share_up(self, parts: u128, whole: u128) -> Result<Self, OutOfRange> {
        let product = self.0.checked_mul(parts).ok_or(OutOfRange)?;
        if whole == 0 {
            return Err(OutOfRange);
        }
        Ok(Self(product.div_ceil(whole)))
    }

    /// `self · parts / whole`, rounded down, so that a payout never exceeds its source.
    ///
    /// # Errors
    /// [`OutOfRange`] when the product does not fit or `whole` is zero.
    pub fn share_down(self, parts: u128, whole: u128) -> Result<Self, OutOfRange> {
        let product = self.0.checked_mul(parts).ok_or(OutOfRange)?;
        product.checked_div(whole).map(Self).ok_or(OutOfRange)
    }
}

impl Price {
    /// The price of `quarters / 4` model tokens, rounded up to a base unit.
    ///
    /// Quarters carry the factor 1.25 of the verification fee without fractions.
    ///
    /// # Errors
    /// [`OutOfRange`] when the product does not fit.
    pub fn of_quarters(self, quarters: u64) -> Result<Amount, OutOfRange> {
        Amount(self.0).share_up(u128::from(quarters), TOKENS_PER_PRICE.saturating_mul(4))
    }

    /// The price of `tokens` model tokens, rounded up to a base unit.
    ///
    /// # Errors
    /// [`OutOfRange`] when the product does not fit.
    pub fn of(self, tokens: Tokens) -> Result<Amount, OutOfRange> {
        Amount(self.0).share_up(u128::from(tokens.0), TOKENS_PER_PRICE)
    }
}

macro_rules! serde_plain {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Deserialize::deserialize(deserializer).map(Self)
            }
        }
    )*};
}
serde_plain!(Height, Tokens);

/// JSON numbers lose precision past 2⁵³, so amounts and prices travel as decimal strings.
macro_rules! serde_decimal {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map(Self).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_decimal!(Amount, Price);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_rounds_up_to_the_base_unit() {
        assert_eq!(Price::new(1).of(Tokens::new(1)), Ok(Amount::new(1)));
        assert_eq!(Price::new(3_000_000).of(Tokens::new(7)), Ok(Amount::new(21)));
        assert_eq!(Price::new(1_000_001).of_quarters(4), Ok(Amount::new(2)));
    }

    #[test]
    fn overflow_is_refused() {
        assert_eq!(Amount::new(u128::MAX).plus(Amount::new(1)), Err(OutOfRange));
        assert_eq!(Amount::ZERO.minus(Amount::new(1)), Err(OutOfRange));
        assert_eq!(Price::new(u128::MAX).of(Tokens::new(2)), Err(OutOfRange));
        assert_eq!(Amount::new(1).share_down(1, 0), Err(OutOfRange));
    }

    #[test]
    fn amounts_travel_as_decimal_strings() {
        let json = serde_json::to_string(&Amount::new(u128::MAX)).unwrap();
        assert_eq!(json, format!("\"{}\"", u128::MAX));
        assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), Amount::new(u128::MAX));
    }
}
