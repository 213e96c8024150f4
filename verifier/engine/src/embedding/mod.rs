//! Sentence embeddings by encoders of the BERT family, to the bit.
//!
//! An [`Encoder`] is loaded from a GGUF file, or from the files of Hugging Face's transformers, whose header is read as
//! if llama.cpp's converter had written it: where the weights are equal, so are the embeddings. `docs/NUMERICS.md`
//! defines every step. Texts share passes, but nothing else: neither their company nor the number of threads
//! changes an embedding, and there is no padding.

mod config;
mod encoder;
mod error;
mod forward;
mod transformers;
mod weights;

pub use config::{EncoderConfig, Pooling};
pub use encoder::{Embedding, Encoder, TooLong};
pub use error::{EncodeError, EncoderError};
pub use transformers::Transformers;
