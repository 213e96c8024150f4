//! Chat templates and the messages that they render.

use assay_engine::synthetic::Synthetic;
use assay_engine::text::Text;
use assay_manifest::formats::gguf::{Gguf, Value};
use assay_protocol::request::{Message, Prompt};

/// Between the template and the messages, and between roles and contents.
const SEPARATOR: &str = "\n%%\n";
/// Tokens of the model's vocabulary that structure a conversation, and how templates name others.
const CONTROLS: [&str; 4] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "_token"];
/// The first of them: they come last in the vocabulary.
const CONTROLS_COUNT: u32 = 3;

/// Templates in the manner of known models, and some that look for an end of the engine's patience.
pub fn seeds() -> Vec<Vec<u8>> {
    let templates = [
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m['content'] + '<|im_end|>' }}{% endfor %}",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]\
         {% elif loop.last %}{{ m.content ~ eos_token }}{% else %}{{ raise_exception('roles') }}{% endif %}{% endfor %}",
        "{% set ns = namespace(n=0, l=[]) %}{% for m in messages if m.role != 'system' %}{% set ns.n = ns.n + 1 %}\
         {% set ns.l = ns.l + [m.content.split(' ')[::2] | join('-')] %}{% endfor %}{{ ns.l | tojson(indent=2) }}{{ ns.n }}",
        "{% macro f(x, y='a') %}{{ x | upper ~ y }}{% endmacro %}{{ f(messages[0].content[1:-1]) }}\
         {%- if messages | length > 1 and not tools -%}{{ strftime_now('%Y-%m-%d') }}{%- endif -%}",
        "{{ messages | map(attribute='content') | list | reverse | first | default('x') | replace('a', 'b') }}",
        "{% for a in range(99) %}{% for b in range(a) %}{{ (a * b) // 3 % 7 }}{% continue %}{% endfor %}{% endfor %}",
        "{% for k, v in {'a': 1, 'b': [2, none, true]}.items() %}{{ k }}{{ v is iterable }}{{ v }}{% endfor %}",
        "{% set x = range(9999)[::1][::1][::1] %}{{ x[5000] }}{{ x | length }}{{ x | batch(3) | list | length }}",
        "{% for k, v in {'b': 1, 'A': [2]} | dictsort %}{{ '{}={0}{{'.format(k) ~ v }}{% endfor %}\
         {% generation %}{{ messages[0].content.split(none, 1) | tojson(ensure_ascii=true) }}{% endgeneration %}",
        "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ ('ab' * 40).split('b', 3) | last }}",
    ];
    let chats = ["user\n%%\nhello <|im_start|> you", "system\n%%\n \n%%\nuser\n%%\na b c\nd é"];
    let seed = |template: &str, chat: &str| [template, SEPARATOR, chat].concat().into_bytes();
    templates.iter().flat_map(|template| chats.iter().map(|chat| seed(template, chat))).collect()
}

/// A template that is accepted renders the same each time, and what it was not given to name as a control
/// token is none.
///
/// # Panics
/// When that does not hold. That it ends in time is for libFuzzer to see.
pub fn check(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let mut parts = input.split(SEPARATOR);
    let Some(template) = parts.next() else { return };
    let parts: Vec<&str> = parts.collect();
    let message = |pair: &[&str]| Message {
        role: pair.first().copied().unwrap_or_default().into(),
        content: pair.get(1).copied().unwrap_or_default().into(),
    };
    let prompt = Prompt::Chat(parts.chunks(2).map(message).collect());
    let mut metadata = Synthetic::default().metadata();
    metadata.insert("tokenizer.chat_template".into(), Value::String(template.into()));
    let gguf = Gguf { version: 3, metadata, tensors: Vec::new(), alignment: 32, data_offset: 0 };
    let text = match Text::from_gguf(&gguf) {
        Ok(text) => text,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let rendered = text.render(&prompt, 1_795_478_400);
    assert_eq!(rendered, text.render(&prompt, 1_795_478_400), "a conversation is rendered in two ways");
    let Ok(tokens) = rendered else { return };
    let count = gguf.require::<&[String]>("tokenizer.ggml.tokens").expect("the model's").len() as u32;
    for token in &tokens {
        assert!(*token < count, "token {token} does not exist");
    }
    if CONTROLS.iter().all(|name| !template.contains(name)) {
        let control = tokens.iter().find(|token| **token >= count - CONTROLS_COUNT);
        assert_eq!(control, None, "a message became a control token");
    }
}
