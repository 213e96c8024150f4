"""Cuts a network of four validators, each in a network namespace of its own, and heals it.

As root on Linux: `python3 tests/network/partition.py PROGRAM`. For half a minute one of four is cut off, then two of
four; the links go down below the nodes, so that nothing tells them. No block may come while two and two are apart.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from town import Node, Town

VALIDATORS = range(1, 5)
CUT_S = 30
ROUNDS = 3
NETWORK = "10.77.0"


def ip(*words, check=True):
    subprocess.run(["ip", *map(str, words)], check=check, capture_output=True)


def clear():
    ip("link", "del", "assay", check=False)
    for number in VALIDATORS:
        ip("netns", "del", f"assay{number}", check=False)


def connect():
    ip("link", "add", "assay", "type", "bridge")
    ip("addr", "add", f"{NETWORK}.254/24", "dev", "assay")
    ip("link", "set", "assay", "up")
    for number in VALIDATORS:
        space, near, far = f"assay{number}", f"assay-n{number}", f"assay-f{number}"
        ip("netns", "add", space)
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", far, "netns", space)
        ip("link", "set", near, "master", "assay", "up")
        ip("-n", space, "addr", "add", f"{NETWORK}.{number}/24", "dev", far)
        ip("-n", space, "link", "set", far, "up")
        ip("-n", space, "link", "set", "lo", "up")


def cut(numbers):
    for number in numbers:
        ip("link", "set", f"assay-n{number}", "down")


def heal(numbers):
    for number in numbers:
        ip("link", "set", f"assay-n{number}", "up")


class Validator(Node):
    """One that listens in its namespace."""

    def __init__(self, program, spec, base, number):
        own = f"{NETWORK}.{number}"
        self.name, self.url, self.log = f"validator-{number}", f"http://{own}:9944", base / f"{number}.log"
        self.command = ["ip", "netns", "exec", f"assay{number}", program, "--json", "--base-path", str(base / str(number))]
        self.command += ["node", "--spec", spec, f"--development-validator={number}"]
        self.command += ["--rpc-address", own, f"--consensus-listen=/ip4/{own}/tcp/30333"]
        self.command += [f"--listen=/ip4/{own}/udp/30334/quic-v1"]
        for other in VALIDATORS:
            if other != number:
                self.command.append(f"--consensus-peer=/ip4/{NETWORK}.{other}/tcp/30333")
                self.command.append(f"--peer=/ip4/{NETWORK}.{other}/udp/30334/quic-v1")
        self.start()


def lose_one(nodes):
    cut([4])
    time.sleep(CUT_S)
    others, start = nodes[0].height(), time.monotonic()
    heal([4])
    nodes[3].reaches(others)
    print(f"one of four cut off for {CUT_S} s: at the others' height {others} after {time.monotonic() - start:.1f} s", flush=True)


def lose_two(nodes):
    cut([3, 4])
    # What was under way when they were cut may still be decided.
    time.sleep(2)
    before = nodes[0].height()
    time.sleep(CUT_S - 2)
    after, start = nodes[0].height(), time.monotonic()
    if after != before:
        raise AssertionError(f"two of four decided {after - before} blocks by themselves")
    heal([3, 4])
    nodes[0].reaches(after + 1)
    nodes[3].reaches(after + 1)
    print(f"two of four cut off: no block; one at all after {time.monotonic() - start:.1f} s", flush=True)


def main(program):
    clear()
    nodes = []
    try:
        connect()
        with tempfile.TemporaryDirectory(prefix="assay-") as directory:
            spec = str(Path(directory) / "chain-spec.json")
            with Town(program, providers=1) as town:
                shutil.copy(town.base / "chain-spec.json", spec)
            nodes = [Validator(program, spec, Path(directory), number) for number in VALIDATORS]
            nodes[0].reaches(5)
            for _ in range(ROUNDS):
                lose_one(nodes)
            for _ in range(ROUNDS):
                lose_two(nodes)
            for node in nodes:
                node.child.terminate()
                node.child.wait(30)
    finally:
        for node in nodes:
            node.child.kill()
        clear()


main(*sys.argv[1:])
