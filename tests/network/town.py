"""Processes of `assay network`, which are killed and started again one by one."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path


class Node:
    """A process of the network; once it has been started again it is a child of this program."""

    def __init__(self, line, logs):
        self.role, self.name, self.pid = line["role"], line["name"], line["pid"]
        self.url = line["rpc"].replace("ws://", "http://")
        self.log = logs / f"{self.name}.log"
        self.child = None
        words = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        words = [word.decode() for word in words if word != b"--with-parent"]
        words[words.index("--rpc-port") + 1] = self.url.rsplit(":", 1)[1].strip("/")
        self.command = words
        self.base = Path(words[words.index("--base-path") + 1])

    def ask(self, method, *params, timeout_s=5):
        question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, question, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)["result"]

    def height(self):
        """The finalized height; none while the node does not answer."""
        try:
            return int(self.ask("chain_getHeader")["number"], 16)
        except OSError:
            return None

    def reaches(self, height, within_s=120):
        """Seconds until it has a height."""
        start = time.monotonic()
        while (now := self.height()) is None or now < height:
            if time.monotonic() - start > within_s:
                raise TimeoutError(f"{self.name} is at {now} and not at {height} after {within_s} s")
            time.sleep(0.02)
        return time.monotonic() - start

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        if self.child:
            self.child.wait()
            return
        # A child of another program: it is gone, or dead and not buried, with no thread left that holds its files.
        own = Path(f"/proc/{self.pid}")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while (own / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" or len(os.listdir(own / "task")) > 1:
                time.sleep(0.01)

    def start(self):
        with self.log.open("a") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.child.pid


class Town:
    """A network in a directory of its own; ends with the block."""

    def __init__(self, program, validators=4, providers=5):
        self.program = program
        self.arguments = ["--validators", str(validators), "--providers", str(providers)]

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="assay-")
        base = Path(self.directory.name)
        self.base, self.logs = base / "nodes", base / "logs"
        self.logs.mkdir()
        command = [self.program, "--json", "--base-path", str(self.base), "network", *self.arguments]
        with (self.logs / "network.log").open("w") as log:
            self.parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.nodes = []
        for line in self.parent.stdout:
            line = json.loads(line)
            if line["event"] == "ready":
                return self
            self.nodes.append(Node(line, self.logs))
        said = (self.logs / "network.log").read_text()
        self.__exit__()
        raise RuntimeError(f"the network ended before it was ready:\n{said}")

    def __exit__(self, *_):
        for node in self.nodes:
            if node.child and node.child.poll() is None:
                node.child.kill()
                node.child.wait()
        self.parent.kill()
        self.parent.wait()
        self.directory.cleanup()

    def of(self, role):
        return [node for node in self.nodes if node.role == role]

    def assay(self, node, *words):
        """What a command says of a stopped node's directory."""
        command = [self.program, "--json", "--chain", "local", "--base-path", str(node.base), *words]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def agree(self):
        """Compares every block that all have; how many there are, and the state root of the last."""
        last = min(node.height() for node in self.nodes)
        differing = 0
        for height in range(last + 1):
            hashes = {node.ask("chain_getBlockHash", height) for node in self.nodes} - {None}
            differing += len(hashes) != 1
        roots = {node.ask("chain_getHeader", node.ask("chain_getBlockHash", last))["stateRoot"] for node in self.nodes}
        if differing or len(roots) != 1:
            raise AssertionError(f"{differing} of {last + 1} blocks differ, and there are {len(roots)} state roots")
        return last + 1, roots.pop()
