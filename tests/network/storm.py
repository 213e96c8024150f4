"""Buys answers one after the other while nodes are killed: `python3 tests/network/storm.py PROGRAM [JOBS [SEED]]`.

In every job one validator and one provider, drawn by the seed, are killed with -9 within the first six seconds, and
started again five seconds later, as a supervisor would. The answer must be right, of a job that was settled, bought at
any of the other nodes, over WebSocket and HTTP by turns. At the end all nodes must have the same blocks and state.
"""

import json
import random
import statistics
import subprocess
import sys
import threading
import time

from town import Town

KILLED_WITHIN_S = 6.0
AWAY_S = 5.0
# The account that registers the demo model in `assay network`.
MODEL = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY/demo"


def start_again(node):
    node.start()
    node.reaches(0)


def buy(town, number, draw):
    """One job; whether its answer is right, how long it took, and what became of it."""
    killed = [draw.choice(town.of(role)) for role in ("validator", "provider")]
    at = draw.choice([node for node in town.nodes if node not in killed])
    left, right = 10 + number % 80, 11 + number * 7 % 80
    url = at.url if number % 2 else at.url.replace("http://", "ws://")
    command = [town.program, "--json", "--base-path", str(town.base / "buyer"), "--rpc", url]
    command += ["--key", "//Alice" if number % 3 else "//Bob", "job", "submit", "--model", MODEL, "--wait"]
    command += ["--prompt", f"What is {left} + {right}?", "--max-tokens", "16"]
    start = time.monotonic()
    buyer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    returns = []
    for after, node in sorted(zip((draw.uniform(0, KILLED_WITHIN_S) for _ in killed), killed), key=lambda pair: pair[0]):
        time.sleep(max(0.0, start + after - time.monotonic()))
        node.kill()
        returns.append(threading.Timer(AWAY_S, start_again, [node]))
        returns[-1].start()
    said, failed = buyer.communicate(timeout=900)
    took_s = time.monotonic() - start
    for back in returns:
        back.join()
    answer = json.loads(said) if said else {"state": "none", "error": failed.strip().splitlines()[-1:]}
    is_right = answer["state"] == "settled" and answer["right"] and answer["output"] == f"{left + right}."
    names = ", ".join(node.name for node in killed)
    print(f"{number}: at {at.name}, killed {names}: {answer['state']} {answer.get('output')} in {took_s:.1f} s", flush=True)
    if not is_right:
        print(json.dumps(answer), flush=True)
    return is_right, took_s


def main(program, jobs=50, seed=1):
    draw = random.Random(int(seed))
    with Town(program) as town:
        bought = [buy(town, number, draw) for number in range(int(jobs))]
        times = [took_s for _, took_s in bought]
        blocks, root = town.agree()
    right = sum(is_right for is_right, _ in bought)
    print(f"{right} of {jobs} right, median {statistics.median(times):.1f} s, longest {max(times):.1f} s")
    print(f"all nodes agree on {blocks} blocks and the state {root}")
    sys.exit(right != int(jobs))


main(*sys.argv[1:])
