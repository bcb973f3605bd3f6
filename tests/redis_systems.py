"""Several real Redis processes that work together: a master that a Sentinel watches, and a Cluster."""

import time
from contextlib import ExitStack

import redis

from benchmarks.redis_process import RedisProcess

SERVICE = "nextvec"
_SLOTS = 16384
_PATIENCE_SECONDS = 20


class Watched(ExitStack):
    """A master, its replica, and a Sentinel that promotes the replica when the master has gone."""

    def __init__(self, folder):
        super().__init__()
        self.master = self._run(folder / "master", "repl-diskless-sync-delay 0")
        self.replica = self._run(
            folder / "replica", "repl-diskless-sync-delay 0", f"replicaof 127.0.0.1 {self.master.port}"
        )
        wait(lambda: ask(self.replica, "info", "replication")["master_link_status"] == "up")
        self.sentinel = self._run(
            folder / "sentinel",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 300",
            f"sentinel failover-timeout {SERVICE} 2000",
            sentinel=True,
        )
        wait(lambda: ask(self.sentinel, "sentinel_slaves", SERVICE))
        self.url = f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}/0"

    def wait_for_promotion(self):
        """Until the replica is the master, and the Sentinel says so."""
        wait(lambda: ask(self.replica, "info", "replication")["role"] == "master")
        wait(lambda: ask(self.sentinel, "sentinel_master", SERVICE)["port"] == self.replica.port)

    def _run(self, folder, *directives, **options):
        folder.mkdir()
        return self.enter_context(RedisProcess(folder, *directives, **options))


class Cluster(ExitStack):
    """Three masters that share the hash slots."""

    def __init__(self, folder):
        super().__init__()
        self.nodes = []
        for number in range(3):
            (folder / str(number)).mkdir()
            node = RedisProcess(folder / str(number), "cluster-enabled yes", "cluster-node-timeout 1000")
            self.nodes.append(self.enter_context(node))
            slots = range(_SLOTS * number // 3, _SLOTS * (number + 1) // 3)
            ask(node, "execute_command", "CLUSTER ADDSLOTS", *slots)
            ask(node, "execute_command", "CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            ask(self.nodes[0], "execute_command", "CLUSTER MEET", "127.0.0.1", node.port)
        wait(lambda: all(_complete(node) for node in self.nodes))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)


def ask(process, method, *arguments):
    """What a method of redis-py's client answers, on a connection of its own."""
    with redis.Redis(port=process.port, socket_timeout=2) as client:
        return getattr(client, method)(*arguments)


def wait(true):
    """Until `true()`; fails a test that waits too long."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < until, "Redis takes too long"
        time.sleep(0.02)


def _complete(node):
    state = ask(node, "execute_command", "CLUSTER INFO")
    text = state if isinstance(state, dict) else dict(line.split(":") for line in state.decode().split())
    return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == 3
