//! Parameters by position or by name.

use assay_runtime::AccountId;
use jsonrpsee::types::Params;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sp_core::crypto::Ss58Codec;

use super::error::RpcError;

/// The parameters of one call, taken one after the other in the order in which the method declares them.
#[derive(Debug)]
pub enum Args {
    /// `[first, second]`.
    Positional(std::vec::IntoIter<Value>),
    /// `{"name": first, "other": second}`.
    Named(Map<String, Value>),
}

impl Args {
    /// Reads the parameters of a call.
    ///
    /// # Errors
    /// [`RpcError`] when they are neither a list nor an object.
    pub fn read(params: &Params<'_>) -> Result<Self, RpcError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Positional(Vec<Value>),
            Named(Map<String, Value>),
        }
        let Some(text) = params.as_str() else { return Ok(Self::Positional(Vec::new().into_iter())) };
        match serde_json::from_str(text).map_err(|_| RpcError::params("expected a list or an object"))? {
            Either::Positional(values) => Ok(Self::Positional(values.into_iter())),
            Either::Named(values) => Ok(Self::Named(values)),
        }
    }

    /// The next parameter, which may be absent or null.
    ///
    /// # Errors
    /// [`RpcError`] when it is something else than a `T`.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, RpcError> {
        let value = match self {
            Self::Positional(values) => values.next(),
            Self::Named(values) => values.remove(name),
        };
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                T::deserialize(value).map(Some).map_err(|error| RpcError::params(format!("{name}: {error}")))
            }
        }
    }

    /// The next parameter.
    ///
    /// # Errors
    /// [`RpcError`] when it is absent, or something else than a `T`.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, RpcError> {
        self.optional(name)?.ok_or_else(|| RpcError::params(format!("{name} is missing")))
    }

    /// The only parameter, whose fields may also stand in the place of the names.
    ///
    /// # Errors
    /// [`RpcError`] when it is absent, or something else than a `T`.
    pub fn only<T: DeserializeOwned>(mut self, name: &str) -> Result<T, RpcError> {
        match self {
            Self::Named(fields) if !fields.contains_key(name) => {
                T::deserialize(Value::Object(fields)).map_err(RpcError::params)
            }
            _ => {
                let value = self.required(name)?;
                self.finish()?;
                Ok(value)
            }
        }
    }

    /// The next parameter as an account's address.
    ///
    /// # Errors
    /// [`RpcError`] when it is absent or no address.
    pub fn account(&mut self, name: &str) -> Result<AccountId, RpcError> {
        let text: String = self.required(name)?;
        AccountId::from_ss58check(&text)
            .map_err(|error| RpcError::params(format!("{name}: {text:?} is no address: {error}")))
    }

    /// Refuses parameters that the method does not have. Nulls at the end of a list are let pass.
    ///
    /// # Errors
    /// [`RpcError`] naming the first that is too many.
    pub fn finish(self) -> Result<(), RpcError> {
        match self {
            Self::Positional(mut values) => match values.find(|value| !value.is_null()) {
                Some(surplus) => Err(RpcError::params(format!("{surplus} is one parameter too many"))),
                None => Ok(()),
            },
            Self::Named(values) => match values.keys().next() {
                Some(unknown) => Err(RpcError::params(format!("there is no parameter {unknown}"))),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Args {
        Args::read(&Params::new(Some(text))).unwrap()
    }

    #[test]
    fn both_forms_give_the_same() {
        for text in [r#"[1, null, "x"]"#, r#"{"c": "x", "a": 1}"#] {
            let mut args = args(text);
            assert_eq!(args.required::<u8>("a"), Ok(1), "{text}");
            assert_eq!(args.optional::<u8>("b"), Ok(None), "{text}");
            assert_eq!(args.optional::<String>("c"), Ok(Some("x".into())), "{text}");
            assert_eq!(args.finish(), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_a_method_does_not_take_is_refused() {
        assert!(args("[]").required::<u8>("a").is_err());
        assert!(args(r#"["x"]"#).required::<u8>("a").is_err());
        assert!(args("[1]").finish().is_err());
        assert!(args("[null]").finish().is_ok());
        assert!(args(r#"{"a": null}"#).finish().is_err());
        assert!(Args::read(&Params::new(Some("3"))).is_err());
        assert!(args(r#"["5Grw"]"#).account("a").is_err());
    }
}
