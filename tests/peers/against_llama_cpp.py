#!/usr/bin/env python3
"""Compares the speed of assay with that of llama.cpp on one GGUF file, in one run.

    pip install llama-cpp-python   # built here: native, with OpenMP and repacking, as by default
    cargo build --release
    tests/peers/against_llama_cpp.py target/release/assay MODEL.gguf [--threads 2] [--rounds 5]

Both read a prompt of the same length and then generate one by one, `--rounds` times in turn; medians are printed,
with the ratio assay / llama.cpp. llama.cpp samples nothing (its logits are computed and left alone); assay chooses
tokens and keeps its trace, which it always does. Each turn of assay is a process of its own, which warms up once
before it measures once, and after decoding measures what memory gives: the last line says what share of that either
decodes with. Decoding cannot be faster than memory.
"""
import argparse
import json
import statistics
import subprocess
import time

import llama_cpp


class Peer:
    def __init__(self, path, threads, prompt, generate):
        self.model = llama_cpp.Llama(
            path,
            n_ctx=prompt + generate,
            n_batch=512,
            n_ubatch=512,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        self.prompt, self.generate = prompt, generate

    def round(self):
        # Any tokens: what they are changes no time.
        tokens = [100 + i * 7 % 100 for i in range(self.prompt)]
        self.model.reset()
        start = time.perf_counter()
        self.model.eval(tokens)
        read = time.perf_counter()
        for i in range(self.generate):
            self.model.eval([100 + i])
        end = time.perf_counter()
        return self.prompt / (read - start), self.generate / (end - read)


def ours(binary, path, threads, prompt, generate):
    command = [binary, "bench", "--model", path, "--threads", str(threads)]
    command += ["--prompt", str(prompt), "--generate", str(generate)]
    command += ["--rounds", "1", "--batch", "1", "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    # Tokens a second that memory would allow, if decoding did nothing but read weights.
    limit = found["stream_gbps"] * 1e9 / found["weight_bytes_per_token"]
    return found["prefill_tps"], found["decode_tps"], limit


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("model")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--prompt", type=int, default=512)
    arguments.add_argument("--generate", type=int, default=128)
    arguments.add_argument("--rounds", type=int, default=5)
    a = arguments.parse_args()
    peer = Peer(a.model, a.threads, a.prompt, a.generate)
    peer.round()
    rounds = {"assay": [], "llama.cpp": []}
    for _ in range(a.rounds):
        rounds["assay"].append(ours(a.binary, a.model, a.threads, a.prompt, a.generate))
        rounds["llama.cpp"].append(peer.round())
    limit = statistics.median(limit for *_, limit in rounds["assay"])
    medians = {name: [statistics.median(column) for column in zip(*found)] for name, found in rounds.items()}
    for name, (prefill, decode, *_) in medians.items():
        print(f"{name:10} prefill {prefill:8.1f} tokens/s  decode {decode:7.1f} tokens/s")
    ratios = [a / b for a, b in zip(medians["assay"], medians["llama.cpp"])]
    shares = [found[1] / limit for found in medians.values()]
    print(f"{'ratio':10} prefill {ratios[0]:8.2f}           decode {ratios[1]:7.2f}")
    print(f"{'memory':10} allows {limit:.1f} tokens/s; assay {shares[0]:.2f} of it, llama.cpp {shares[1]:.2f}")


if __name__ == "__main__":
    main()
