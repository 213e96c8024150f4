//! Prompts of a length.

use assay_engine::Model;
use assay_engine::text::RenderError;
use assay_manifest::Digest32;
use assay_protocol::request::{Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};

/// Ordinary words, so that tokens vary as they do in prompts: experts take turns, and no text is all one token.
const WORDS: &str = "The river rises in the hills north of the town and runs past two mills before it meets the sea. \
    In spring, when the snow melts, boats carry timber down to the harbour; in autumn they bring back salt, cloth, \
    13 kinds of apples and letters from people who left years ago. An old bridge of 27 arches crosses it where the \
    market is held on Tuesdays, and children count the fish that wait below for crumbs. ";

/// Most characters tried beyond the best so far, where a shorter text can have more tokens than a longer one.
const NEARBY_CHARS: usize = 16;

/// A request whose prompt has as many tokens, or as near to it as this tokenizer comes. Texts of different `variant`
/// begin differently.
///
/// # Errors
/// [`RenderError`] when the tokenizer does not take the text.
pub fn request(model: &Model, tokens: u32, max_tokens: u32, variant: usize) -> Result<Request, RenderError> {
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text(String::new()),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens,
        stop: Vec::new(),
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: Digest32::ZERO,
    };
    request.prompt = Prompt::Text(text(model, tokens, variant)?);
    let prompt = model.prompt(&request)?;
    request.n_in = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    request.prompt_hash = prompt_hash(&prompt);
    Ok(request)
}

/// The shortest text found with as many tokens: first by halving, then one by one around that.
fn text(model: &Model, tokens: u32, variant: usize) -> Result<String, RenderError> {
    let wanted = usize::try_from(tokens).unwrap_or(usize::MAX);
    let begin = WORDS.split_inclusive(' ').take(variant % 40).map(str::len).sum();
    // A token has a character at least; only the first and the last of a prompt have none.
    let prefix = |chars: usize| WORDS.chars().cycle().skip(begin).take(chars).collect::<String>();
    let count = |chars: usize| model.text().render(&Prompt::Text(prefix(chars)), 0).map(|found| found.len());
    let mut high = wanted.max(1);
    while count(high)? < wanted {
        high *= 2;
    }
    let mut low = 0;
    while low + 1 < high {
        let middle = low.midpoint(high);
        if count(middle)? < wanted { low = middle } else { high = middle }
    }
    let mut best = (usize::MAX, high);
    for chars in high.saturating_sub(NEARBY_CHARS).max(1)..=high + NEARBY_CHARS {
        best = best.min((count(chars)?.abs_diff(wanted), chars));
    }
    Ok(prefix(best.1))
}

#[cfg(test)]
mod tests {
    use assay_engine::LoadOptions;
    use assay_engine::synthetic::Synthetic;

    use super::*;

    #[test]
    fn prompts_have_the_length_that_is_asked_for_and_differ() {
        let file = Synthetic { context_length: 4_096, ..Synthetic::default() }.gguf().unwrap();
        let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| {}).unwrap();
        for tokens in [2, 3, 17, 512, 2_000] {
            let found = request(&model, tokens, 8, 0).unwrap();
            assert!(found.n_in.abs_diff(tokens) <= 1, "{} for {tokens}", found.n_in);
            found.check().unwrap();
        }
        let hash = |variant| request(&model, 64, 8, variant).unwrap().prompt_hash;
        assert!(hash(0) != hash(1) && hash(1) != hash(7));
    }
}
