//! The keys of an architecture in a model's metadata.

use assay_manifest::formats::gguf::{FromValue, Gguf, KeyError, Value};

use crate::config::ConfigError;

/// The keys of an architecture.
pub struct Keys<'a> {
    gguf: &'a Gguf,
    /// `general.architecture`, with which they begin.
    architecture: &'static str,
}

impl<'a> Keys<'a> {
    /// The keys of this architecture.
    pub const fn new(gguf: &'a Gguf, architecture: &'static str) -> Self {
        Self { gguf, architecture }
    }

    /// A key as the file spells it.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A value that need not be stated.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn lookup<T: FromValue<'a>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        Ok(self.gguf.lookup(&self.key(name))?)
    }

    /// A value that must be stated.
    ///
    /// # Errors
    /// When it is missing or of another type.
    pub fn require<T: FromValue<'a>>(&self, name: &str) -> Result<T, ConfigError> {
        Ok(self.gguf.require(&self.key(name))?)
    }

    /// A value that is not implemented.
    pub fn unsupported(&self, name: &str, value: impl ToString) -> ConfigError {
        ConfigError::Unsupported { key: self.key(name), value: value.to_string() }
    }

    /// A size that need not be stated; if it is, it lies between 1 and [`SIZE_MAX`].
    ///
    /// # Errors
    /// When it is of another type, or beyond these bounds.
    pub fn optional(&self, name: &str) -> Result<Option<usize>, ConfigError> {
        let Some(stated) = self.gguf.lookup::<u64>(&self.key(name))? else { return Ok(None) };
        match usize::try_from(stated) {
            Ok(size) if (1..=SIZE_MAX).contains(&size) => Ok(Some(size)),
            _ => Err(self.unsupported(name, stated)),
        }
    }

    /// A size that must be stated.
    ///
    /// # Errors
    /// When it is missing, of another type, or beyond these bounds.
    pub fn size(&self, name: &str) -> Result<usize, ConfigError> {
        self.optional(name)?.ok_or_else(|| ConfigError::Key(KeyError::Missing { key: self.key(name) }))
    }

    /// A finite positive number, if it is stated.
    ///
    /// # Errors
    /// When it is of another type, or no such number.
    pub fn positive(&self, name: &str) -> Result<Option<f32>, ConfigError> {
        match self.gguf.lookup::<f32>(&self.key(name))? {
            Some(stated) if !(stated.is_finite() && stated > 0.0) => Err(self.unsupported(name, stated)),
            stated => Ok(stated),
        }
    }

    /// A text, if it is stated.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        Ok(self.gguf.lookup(&self.key(name))?)
    }

    /// Whether the file has a tensor of this name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.gguf.tensors.iter().any(|tensor| tensor.name == name)
    }

    /// Refuses keys of the architecture that are not known: they could change the computation.
    ///
    /// # Errors
    /// With the first of them.
    pub fn refuse_unknown(&self, known: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
        let prefix = self.key("");
        let mut stated =
            self.gguf.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
        match stated.find(|(name, _)| !known(name)) {
            Some((name, value)) => Err(self.unsupported(name, describe(value))),
            None => Ok(()),
        }
    }
}

/// Largest size that a dimension may state: beyond any model, and small enough that products of two fit.
pub const SIZE_MAX: usize = 1 << 30;

fn describe(value: &Value) -> String {
    match value {
        Value::U32(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        other => format!("({})", other.type_name()),
    }
}
