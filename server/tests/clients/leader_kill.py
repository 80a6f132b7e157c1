"""redis-py's RedisCluster, unmodified, while the node that leads is killed with SIGKILL: what it was told is stored is there.

Arguments: the process and the any-slot port of each of three nodes, as PID:PORT.
"""
import os
import signal
import sys
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

KEYS = 6000
# For one write, retries of the client included.
PATIENCE_S = 60

nodes = [tuple(map(int, node.split(":"))) for node in sys.argv[1:]]
client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for _, port in nodes])


def leader():
    """The process that leads the first slot."""
    for _, port in nodes:
        plain = redis.Redis(host="127.0.0.1", port=port, protocol=2)
        try:
            described = plain.execute_command("CLUSTER NODES")
        except redis.RedisError:
            continue
        finally:
            plain.close()
        (master,) = [int(name.split(":")[1].split("@")[0]) for name, it in described.items()
                     if "master" in it["flags"] and it["slots"] and it["slots"][0][0] == "0"]
        # Ports of a node's cores follow its own.
        return max((node for node in nodes if node[1] < master), key=lambda node: node[1])[0]
    raise SystemExit("no node says who leads")


acknowledged, failed, silence_s = {}, 0, 0.0
last = time.monotonic()
for i in range(KEYS):
    if i == KEYS // 3:
        os.kill(leader(), signal.SIGKILL)
    key, value = f"redis-py:{i}", str(i).encode()
    try:
        if client.set(key, value):
            acknowledged[key] = value
            silence_s, last = max(silence_s, time.monotonic() - last), time.monotonic()
    except (redis.RedisError, OSError) as error:
        failed += 1
        assert time.monotonic() - last < PATIENCE_S, error
assert len(acknowledged) > KEYS * 2 // 3, (len(acknowledged), failed)
lost = {key for key, value in acknowledged.items() if client.get(key) != value}
assert not lost, sorted(lost)[:10]
print(f"redis-py {redis.__version__} RedisCluster, leader killed: {len(acknowledged)} acknowledged and there, "
      f"{failed} failed, {silence_s * 1000:.0f} ms without an answer at most")
