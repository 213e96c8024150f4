"""Asks llama.cpp what it makes of texts, for the example `tokenizer_oracle`.

    pip install llama-cpp-python gguf
    python oracle.py compare VOCABULARIES FOLDER [COUNT]
    python oracle.py splits VOCABULARY FOLDER NAME...

`compare` writes FOLDER/NAME.gguf (a link) and, beside it, .inp, .out, .read, .prompt and .ends for every
NAME.gguf, with the texts of NAME.gguf.inp if there are any, and COUNT made by a seeded generator. `splits` does so with copies of one byte-level vocabulary that name
another pre-tokenizer each. The texts hold code, numbers, scripts of both directions, emoji and their joiners,
combining marks, runs of white space, controls, noncharacters, unassigned and private characters.
"""

import ctypes
import random
import struct
import sys
from pathlib import Path

import llama_cpp

SEPARATOR = "\n__ggml_vocab_test__\n"
SEED = 20261128

WORDS = """the of and Hello world's I'm you'll THEY'RE don't DON'T we've x'd O'Neill camelCase HTTPServer snake_case
fn main() { let x: u32 = 0xFF_u32; } #include <stdio.h> printf("%d\\n", i++); if (a != b && c >= d) return -1;
def f(x): return x ** 2 SELECT * FROM t WHERE a='b'; <div class="x">&nbsp;</div> {"key": [1, 2.5e-3, null]}
https://example.org/a?b=c&d=%20#e user@example.com C:\\Users\\x ../lib/*.rs <|im_start|> <s> </s> [INST] <unk> [CLS]
[SEP] [MASK] [UNK] <0x0A> <|endoftext|> <|eot_id|> ### === --- ... !!! ??? ::: <<< >>> $$ ~~ `` ^^ ++ == |> <- =>
café naïve Übergröße Straße ÉCOLE İstanbul ıI ſ Ǆ ﬁ Ⅷ ² ½ ٣٤٥ १२३ ๑๒ ௧ 〇 ①
Привет мир ЁЛКА Ελληνικά ΣΊΣΥΦΟΣ שלום עולם مرحبا بالعالم فارسی हिन्दी क्षत्रिय বাংলা தமிழ் ไทยภาษา ភាសាខ្មែរ ລາວ မြန်မာ
中文字符 漢字かな交じり文 カタカナ ﾊﾝｶｸ 한국어 조선말 ᄒᆞᆫ ქართული ᲥᲐᲠ Հայերեն አማርኛ ᏣᎳᎩ ᚠᚢᚦ 𝔘𝔫𝔦 𝕏 𐐀𐐨 𓀀 𠀀 𫝀
👍 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ ☺ ☎️ 1️⃣ 🦙.cpp ⓶ ™ © № € £ ¥ ₿ ° ± × ÷ ∑ ∫ √ ∞ ≠ ≤ → ⇒ ■ ● ★ ♪ ▁ ▁▁x Ġ Ċ ## ##ing""".split()
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\t\t", "\u00a0", "\u3000", "\u2003", "\u2028", "\u0085",
          "\u1680", "\u200b", "\ufeff", "\x0b", "\x0c", "\r", "\x1c", " " * 17, "\n" * 9]
ODD = ["\x00", "\x01", "\x03", "\x07", "\x1b[0m", "\x7f", "\x80", "\x9f", "\u00ad", "\u0300", "\u0301\u0323", "e\u0301",
       "\u0345", "\u180e", "\u200c", "\u200d", "\u200f", "\u202e", "\u2060", "\ufe0f", "\ufffd", "\ufffe", "\uffff",
       "\ufdd0", "\ue000", "\uf8ff", "\U000e0001", "\U000f0000", "\U0010ffff", "\u0378", "\u05c4", "\ua9c0",
       "\U0001f9ff", "\U000e0100", "\u0d00", "\ud7ff", "\u1160", "\uac01", "\uffa0"]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["。", "、", "«", "»", "“", "”", "’", "—", "…", "¿", "·", "।"]


def texts(count):
    """Texts that are valid UTF-8, the same at each call."""
    choose = random.Random(SEED)

    def number():
        return str(choose.randrange(10 ** choose.randrange(1, 14)))

    def any_character():
        while True:
            code = choose.randrange(choose.choice([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000]))
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    def run():
        return choose.choice(WORDS + ODD + PUNCTUATION)[:1] * choose.randrange(2, 20)

    kinds = [lambda: choose.choice(WORDS), lambda: choose.choice(SPACES), lambda: choose.choice(PUNCTUATION), number,
             lambda: choose.choice(ODD), any_character, run, lambda: choose.choice(WORDS).upper(),
             lambda: choose.choice(WORDS)[:choose.randrange(1, 6)]]
    weights = [30, 25, 10, 8, 5, 5, 3, 3, 6]
    for _ in range(count):
        parts = choose.choices(kinds, weights, k=choose.randrange(1, 25))
        text = "".join(part() + choose.choice(["", "", " "]) for part in parts)
        yield text.encode("utf-8", "ignore").decode().replace("__ggml_vocab_test__", "")


def read(model, tokens):
    """The bytes that tokens read as: whole texts of SentencePiece, and pieces of the others, of which
    `llama_detokenize` takes spaces away that the text had."""
    vocab = llama_cpp.llama_model_get_vocab(model.model)
    buffer = ctypes.create_string_buffer(1 << 20)
    if llama_cpp.llama_vocab_type(vocab) == llama_cpp.LLAMA_VOCAB_TYPE_SPM:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        length = llama_cpp.llama_detokenize(vocab, array, len(tokens), buffer, len(buffer), False, False)
        return buffer[:length]
    pieces = b""
    for token in tokens:
        pieces += buffer[:llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)]
    return pieces


def write(path, count, own=()):
    model = llama_cpp.Llama(model_path=str(path), vocab_only=True, verbose=False)
    made = [*own, *texts(count)]
    tokens = [model.tokenize(text.encode(), add_bos=False, special=False) for text in made]
    prompts = [model.tokenize(text.encode(), add_bos=True, special=True) for text in made]
    vocab = llama_cpp.llama_model_get_vocab(model.model)
    ends = [id for id in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocab, id)]
    path.with_suffix(".gguf.inp").write_bytes(SEPARATOR.join([*made, ""]).encode())
    path.with_suffix(".gguf.out").write_text(lines(tokens))
    path.with_suffix(".gguf.read").write_text("".join(read(model, ids).hex() + "\n" for ids in tokens))
    path.with_suffix(".gguf.prompt").write_text(lines(prompts))
    path.with_suffix(".gguf.ends").write_text(lines([ends]))


def lines(lists):
    return "".join(" ".join(map(str, ids)) + "\n" for ids in lists)


def renamed(data, name):
    """A file's bytes with another value of `tokenizer.ggml.pre`."""
    key = b"tokenizer.ggml.pre" + struct.pack("<I", 8)
    start = data.index(key) + len(key)
    (length,) = struct.unpack_from("<Q", data, start)
    value = struct.pack("<Q", len(name)) + name.encode()
    return data[:start] + value + data[start + 8 + length:]


def main():
    command, source, folder, *rest = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if command == "splits":
        data = Path(source).read_bytes()
        for name in rest:
            path = folder / f"{name}.gguf"
            path.write_bytes(renamed(data, name))
            write(path, 1000)
        return
    for vocabulary in sorted(Path(source).glob("*.gguf")):
        path = folder / vocabulary.name
        path.unlink(missing_ok=True)
        path.symlink_to(vocabulary.resolve())
        own = vocabulary.with_suffix(".gguf.inp")
        own = own.read_bytes().decode().removesuffix(SEPARATOR).split(SEPARATOR) if own.exists() else ()
        write(path, int(rest[0]) if rest else 10_000, own)
        print(vocabulary.name, flush=True)


main()
