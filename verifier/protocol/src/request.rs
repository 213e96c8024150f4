//! What a buyer asks for: everything that the computation depends on, in canonical bytes (clause J18).
//!
//! The bytes are the SCALE encoding of [`Request`]. They never appear on the ledger, which holds only
//! their salted commitment.

use assay_manifest::{Digest32, JobId, TaggedHash};
use codec::{Decode, DecodeAll, Encode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::commitment::Salt;

/// The first version of the request's encoding.
pub const REQUEST_VERSION: u8 = 1;

/// Limits that a request must respect; they bound what a provider parses before it works.
pub mod limits {
    /// Bytes of a whole encoded request.
    pub const REQUEST_BYTES_MAX: usize = 256 * 1024;
    /// Chat messages in one request.
    pub const MESSAGES_MAX: usize = 256;
    /// Stop strings; OpenAI's interface allows four, agents use more.
    pub const STOP_STRINGS_MAX: usize = 16;
    /// Bytes of one stop string.
    pub const STOP_BYTES_MAX: usize = 256;
    /// Tokens with a bias.
    pub const LOGIT_BIAS_MAX: usize = 1024;
}

/// A request was refused before any work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The bytes are not a request.
    #[error("decoding the request: {0}")]
    Encoding(String),
    /// The version is not known to this node.
    #[error("reading the request: version {0} is not known")]
    Version(u8),
    /// A bound of [`limits`] is exceeded.
    #[error("checking the request: {what} exceeds its limit of {limit}")]
    TooLarge {
        /// The field.
        what: &'static str,
        /// Its limit.
        limit: usize,
    },
    /// A value makes no sense.
    #[error("checking the request: {0}")]
    Invalid(&'static str),
}

/// An `f32` by its bits, so that requests compare, hash and encode exactly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct F32(u32);

impl F32 {
    /// Wraps a float.
    pub fn new(value: f32) -> Self {
        Self(value.to_bits())
    }

    /// The float.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl std::fmt::Debug for F32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

impl Serialize for F32 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f32(self.get())
    }
}

impl<'de> Deserialize<'de> for F32 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A number with its text, which `f32` cannot read out of a tagged enum where serde_json keeps texts.
        let number = serde_json::Number::deserialize(deserializer)?;
        let value: f32 = number.to_string().parse().map_err(serde::de::Error::custom)?;
        // Beyond the range of `f32` it would become infinity, which JSON cannot hold.
        match value.is_finite() {
            true => Ok(Self::new(value)),
            false => Err(serde::de::Error::custom(format_args!("{number} is out of range"))),
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// `system`, `user` or `assistant`; templates decide what they accept.
    pub role: String,
    /// The text.
    pub content: String,
}

/// The text that the model continues.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Prompt {
    /// A conversation, rendered by the model's chat template.
    #[codec(index = 0)]
    Chat(Vec<Message>),
    /// Text that is tokenized as it stands.
    #[codec(index = 1)]
    Text(String),
}

/// How a token is chosen from the logits; the order of the operations is in `docs/NUMERICS.md`.
///
/// Every field of the common interfaces exists from the first version; an engine refuses those that it
/// does not implement, before any work.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sampler {
    /// 0 is greedy; otherwise logits are divided by it.
    pub temperature: F32,
    /// Keep the `k` most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set with this probability mass; 1 keeps all.
    pub top_p: F32,
    /// Drop tokens below this share of the most likely one; 0 keeps all.
    pub min_p: F32,
    /// Divides the logits of tokens seen before; 1 is off.
    pub repetition_penalty: F32,
    /// Subtracted once from tokens seen before; 0 is off.
    pub presence_penalty: F32,
    /// Subtracted per occurrence; 0 is off.
    pub frequency_penalty: F32,
    /// Added to the logits of single tokens, sorted by token.
    pub logit_bias: Vec<(u32, F32)>,
}

impl Sampler {
    /// Always the most likely token.
    pub fn greedy() -> Self {
        Self {
            temperature: F32::new(0.0),
            top_k: 0,
            top_p: F32::new(1.0),
            min_p: F32::new(0.0),
            repetition_penalty: F32::new(1.0),
            presence_penalty: F32::new(0.0),
            frequency_penalty: F32::new(0.0),
            logit_bias: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), RequestError> {
        let finite_positive = |x: F32| x.get().is_finite() && x.get() >= 0.0;
        let share = |x: F32| finite_positive(x) && x.get() <= 1.0;
        if !finite_positive(self.temperature) {
            return Err(RequestError::Invalid("temperature must be finite and not negative"));
        }
        if !share(self.top_p) || !share(self.min_p) {
            return Err(RequestError::Invalid("top_p and min_p must lie between 0 and 1"));
        }
        if !finite_positive(self.repetition_penalty) || self.repetition_penalty.get() == 0.0 {
            return Err(RequestError::Invalid("repetition_penalty must be finite and positive"));
        }
        if !self.presence_penalty.get().is_finite() || !self.frequency_penalty.get().is_finite() {
            return Err(RequestError::Invalid("penalties must be finite"));
        }
        at_most("logit_bias", self.logit_bias.len(), limits::LOGIT_BIAS_MAX)?;
        let sorted = self.logit_bias.is_sorted_by(|a, b| a.0 < b.0);
        if !sorted || self.logit_bias.iter().any(|(_, bias)| !bias.get().is_finite()) {
            return Err(RequestError::Invalid("logit_bias must be finite and sorted by token"));
        }
        Ok(())
    }
}

/// Everything that the computation depends on (clause J18).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// [`REQUEST_VERSION`].
    pub version: u8,
    /// What to continue.
    pub prompt: Prompt,
    /// Seconds since 1970 that a template sees as the present.
    pub now_s: u64,
    /// Tokens of the rendered prompt.
    pub n_in: u32,
    /// [`prompt_hash`] of the rendered prompt's tokens.
    pub prompt_hash: Digest32,
    /// The most tokens to generate; at least one.
    pub max_tokens: u32,
    /// Strings that end the answer.
    pub stop: Vec<String>,
    /// How tokens are chosen.
    pub sampler: Sampler,
    /// The sampler's seed; absent, it follows from salt and job.
    pub seed: Option<Digest32>,
    /// SHA-256 of the job's salt.
    pub salt_hash: Digest32,
}

impl Request {
    /// The canonical bytes, to which `input_commit` commits.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    /// Decodes and checks canonical bytes.
    ///
    /// # Errors
    /// [`RequestError`] for foreign bytes, an unknown version or a field out of its range.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RequestError> {
        at_most("the request", bytes.len(), limits::REQUEST_BYTES_MAX)?;
        let request = Self::decode_all(&mut &*bytes).map_err(|e| RequestError::Encoding(e.to_string()))?;
        request.check()?;
        Ok(request)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`RequestError`] naming the first field out of its range.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.version != REQUEST_VERSION {
            return Err(RequestError::Version(self.version));
        }
        if let Prompt::Chat(messages) = &self.prompt {
            at_most("messages", messages.len(), limits::MESSAGES_MAX)?;
        }
        if self.max_tokens == 0 {
            return Err(RequestError::Invalid("max_tokens must be at least 1"));
        }
        at_most("stop", self.stop.len(), limits::STOP_STRINGS_MAX)?;
        for stop in &self.stop {
            at_most("a stop string", stop.len(), limits::STOP_BYTES_MAX)?;
            if stop.is_empty() {
                return Err(RequestError::Invalid("a stop string must not be empty"));
            }
        }
        self.sampler.check()
    }

    /// The sampler's seed: the request's own, or the one that salt and job give.
    pub fn seed(&self, salt: &Salt, job: &JobId) -> Digest32 {
        self.seed.unwrap_or_else(|| {
            TaggedHash::new("assay/seed/1").fixed(salt.as_bytes()).fixed(job.as_bytes()).finish()
        })
    }
}

/// Wipes what tells of the prompt. Whoever holds a request for others keeps it in something that calls this when
/// it is dropped.
impl Zeroize for Request {
    fn zeroize(&mut self) {
        match &mut self.prompt {
            Prompt::Chat(messages) => {
                for Message { role, content } in messages {
                    role.zeroize();
                    content.zeroize();
                }
            }
            Prompt::Text(text) => text.zeroize(),
        }
        self.stop.zeroize();
        self.prompt_hash = Digest32::ZERO;
    }
}

/// Hash of a rendered prompt's token ids, by which a provider recognises a foreign tokenizer.
pub fn prompt_hash(tokens: &[u32]) -> Digest32 {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    TaggedHash::new("assay/prompt/1").var(&bytes).finish()
}

fn at_most(what: &'static str, size: usize, limit: usize) -> Result<(), RequestError> {
    if size > limit {
        return Err(RequestError::TooLarge { what, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Request {
        Request {
            version: REQUEST_VERSION,
            prompt: Prompt::Chat(vec![Message { role: "user".into(), content: "hi".into() }]),
            now_s: 1,
            n_in: 3,
            prompt_hash: prompt_hash(&[1, 2, 3]),
            max_tokens: 8,
            stop: vec!["\n".into()],
            sampler: Sampler::greedy(),
            seed: None,
            salt_hash: Digest32::ZERO,
        }
    }

    #[test]
    fn bytes_round_trip_and_trailing_bytes_are_refused() {
        let mut bytes = sample().to_bytes();
        assert_eq!(Request::from_bytes(&bytes), Ok(sample()));
        bytes.push(0);
        assert!(matches!(Request::from_bytes(&bytes), Err(RequestError::Encoding(_))));
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        type Change = fn(&mut Request);
        let cases: [(&str, Change); 7] = [
            ("version", |r| r.version = 9),
            ("no tokens", |r| r.max_tokens = 0),
            ("empty stop", |r| r.stop.push(String::new())),
            ("nan temperature", |r| r.sampler.temperature = F32::new(f32::NAN)),
            ("top_p above one", |r| r.sampler.top_p = F32::new(1.5)),
            ("unsorted bias", |r| {
                r.sampler.logit_bias = vec![(2, F32::new(1.0)), (1, F32::new(1.0))];
            }),
            ("too many stops", |r| r.stop = vec!["x".into(); limits::STOP_STRINGS_MAX + 1]),
        ];
        for (reason, change) in cases {
            let mut request = sample();
            change(&mut request);
            assert!(request.check().is_err(), "{reason}");
        }
    }

    #[test]
    fn floats_read_as_they_print_inside_a_tagged_enum_too() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        enum Tagged {
            One { x: F32 },
        }
        for x in [0.0, 0.7, 1.0, f32::MIN_POSITIVE, 16_777_216.0, 3.402_823e38] {
            let tagged = Tagged::One { x: F32::new(x) };
            let json = serde_json::to_string(&tagged).unwrap();
            assert_eq!(serde_json::from_str::<Tagged>(&json).unwrap(), tagged, "{json}");
        }
    }

    #[test]
    fn an_absent_seed_follows_from_salt_and_job() {
        let job = JobId::from_bytes([7; 32]);
        let (a, b) = (Salt::from_bytes([1; 32]), Salt::from_bytes([2; 32]));
        assert_ne!(sample().seed(&a, &job), sample().seed(&b, &job));
        let fixed = Request { seed: Some(Digest32::from_bytes([5; 32])), ..sample() };
        assert_eq!(fixed.seed(&a, &job), fixed.seed(&b, &job));
    }

    #[test]
    fn a_number_beyond_the_range_of_its_type_is_refused() {
        assert_eq!(serde_json::from_str::<F32>("0.5").unwrap(), F32::new(0.5));
        for huge in ["1e300", "-1e39"] {
            let error = serde_json::from_str::<F32>(huge).unwrap_err().to_string();
            assert!(error.contains("out of range"), "{error}");
        }
    }
}
