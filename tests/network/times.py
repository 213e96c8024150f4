"""How soon a network goes on after losses: `python3 tests/network/times.py PROGRAM [BLOCKS]`.

Four validators that aim at two blocks a second, and a follower: two killed and one brought back; all killed and
started again; one that lost its ledger, with so many BLOCKS to fetch, from the others and from a snapshot.
"""

import shutil
import sys
import time

from town import Town

ROUNDS = 3
# What a validator keeps beside the chain.
KEPT = {"keystore", "sealing", "models", "VERSION", "chain-spec.json"}


def take_over(town):
    """Makes every process a child of this program, so that no other's end is theirs."""
    for node in town.nodes:
        node.kill()
        node.start()
        node.reaches(1)


def wipe(node):
    for path in (node.base / "local").iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main(program, blocks=500):
    with Town(program, providers=1) as town:
        take_over(town)
        first, *_, third, fourth = town.of("validator")
        (follower,) = town.of("provider")
        for _ in range(ROUNDS):
            third.kill()
            fourth.kill()
            time.sleep(2)
            before = first.height()
            time.sleep(8)
            if first.height() != before:
                raise AssertionError(f"two of four decided {first.height() - before} blocks by themselves")
            third.start()
            took_s = first.reaches(before + 1)
            print(f"two of four killed: no block in 8 s; one back: a block after {took_s:.1f} s", flush=True)
            fourth.start()
            fourth.reaches(first.height())
        for _ in range(ROUNDS):
            height = max(node.height() for node in town.nodes)
            for node in town.nodes:
                node.kill()
            for node in town.nodes:
                node.start()
            print(f"all killed: a new block after {first.reaches(height + 1):.1f} s", flush=True)
        first.reaches(int(blocks) + 1, within_s=3600)
        for _ in range(ROUNDS):
            fourth.kill()
            wipe(fourth)
            height, start = first.height(), time.monotonic()
            fourth.start()
            fourth.reaches(height)
            print(f"wiped: {height} blocks later after {time.monotonic() - start:.1f} s", flush=True)
        for number in range(ROUNDS):
            file = str(town.base / f"snapshot-{number}")
            follower.kill()
            town.assay(follower, "chain", "snapshot", "export", file)
            follower.start()
            fourth.kill()
            wipe(fourth)
            height, start = first.height(), time.monotonic()
            town.assay(fourth, "chain", "snapshot", "import", file, "--spec", str(town.base / "chain-spec.json"))
            fourth.start()
            fourth.reaches(height)
            print(f"wiped, from a snapshot: at height {height} after {time.monotonic() - start:.1f} s", flush=True)
        blocks, root = town.agree()
    print(f"all nodes agree on {blocks} blocks and the state {root}")


main(*sys.argv[1:])
