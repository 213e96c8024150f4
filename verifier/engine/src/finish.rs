//! When an answer ends (clause J19).

use assay_protocol::commitment::Finish;
use assay_protocol::request::Request;

use crate::text::{Decoder, StopMatcher, Text};

/// Watches an answer token by token. An end-of-generation token ends it; else a stop string in its text;
/// else its length.
pub struct FinishRule {
    decoder: Decoder,
    stop: StopMatcher,
    left: u32,
}

impl FinishRule {
    /// No token yet.
    pub fn new(text: &Text, request: &Request) -> Self {
        Self { decoder: text.decoder(), stop: StopMatcher::new(&request.stop), left: request.max_tokens }
    }

    /// Whether the answer ends with this token, and why.
    pub fn push(&mut self, text: &Text, token: u32) -> Option<Finish> {
        self.left = self.left.saturating_sub(1);
        if text.eos_tokens().contains(&token) {
            return Some(Finish::Eos);
        }
        let read = self.decoder.push(text, token);
        if let Some(index) = self.stop.push(&read) {
            return Some(Finish::Stop(index));
        }
        (self.left == 0).then_some(Finish::Length)
    }
}
