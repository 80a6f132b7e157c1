"""redis-py's RedisCluster, unmodified, given one port of a running server: every key on its node, MOVED, pipelines.

Arguments: a port and, optionally, `any-slot` when it is the one that answers for every key. The keys are drawn from a seed,
which is the port, so that a failure can be repeated against a server on the same ports.
"""
import random
import sys

import redis
from redis.cluster import RedisCluster

try:
    from redis.maint_notifications import MaintNotificationsConfig

    WITHOUT_NOTICES = {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}
except ImportError:
    # Before redis-py 6.
    WITHOUT_NOTICES = {}

KEYS = 1000
SLOTS = 16384


def strings(client, draw):
    """Single keys, many keys, hash tags, and the counts and scans that cover all nodes."""
    values = {f"k:{draw.getrandbits(64):x}": str(i) for i in range(KEYS)}
    assert len(values) == KEYS
    for key, value in values.items():
        assert client.set(key, value) is True
    for key, value in values.items():
        assert client.get(key) == value.encode()
    assert size(client) == KEYS
    assert set(client.scan_iter("k:*", count=100)) == {key.encode() for key in values}
    assert set(client.keys("k:*", target_nodes=RedisCluster.PRIMARIES)) == {key.encode() for key in values}
    names = list(values)
    assert client.mget_nonatomic(names) == [values[name].encode() for name in names]
    assert all(client.mset_nonatomic({name: "again" for name in names}))
    assert client.mget_nonatomic(names) == [b"again"] * KEYS
    assert client.exists(*names) == KEYS
    assert client.delete(*names) == KEYS
    assert size(client) == 0

    tagged = {f"{{tag}}:{i}": f"{i}" for i in range(100)}
    assert client.mset(tagged) is True
    assert client.mget(list(tagged)) == [value.encode() for value in tagged.values()]
    assert client.keyslot("{tag}:1") == client.cluster_keyslot("tag") == client.cluster_keyslot("{tag}:1")
    assert client.cluster_countkeysinslot(client.keyslot("tag")) == len(tagged)
    found = client.cluster_get_keys_in_slot(client.keyslot("tag"), 1000)
    assert {text(key) for key in found} == set(tagged)
    assert client.rename("{tag}:1", "{tag}:renamed") is True
    assert client.get("{tag}:renamed") == b"1"


def pipelines(client, draw):
    """A pipeline is split by node, and its replies come back in the order of its commands."""
    keys = [f"p:{draw.getrandbits(64):x}" for _ in range(KEYS)]
    with client.pipeline() as pipe:
        for i, key in enumerate(keys):
            pipe.set(key, i)
            pipe.incr(key)
            pipe.get(key)
        replies = pipe.execute()
    assert replies[0::3] == [True] * KEYS
    assert replies[1::3] == list(range(1, KEYS + 1))
    assert replies[2::3] == [b"%d" % i for i in range(1, KEYS + 1)]


def topology(client):
    """What the nodes say about themselves: one story, and each is `myself` where it is asked."""
    nodes = client.get_primaries()
    assert not client.get_replicas()
    views = {}
    for node in nodes:
        info = client.cluster_info(target_nodes=node)
        assert info["cluster_state"] == "ok", info
        assert int(info["cluster_slots_assigned"]) == int(info["cluster_slots_ok"]) == SLOTS
        assert int(info["cluster_known_nodes"]) == int(info["cluster_size"]) == len(nodes)
        described = client.execute_command("CLUSTER NODES", target_nodes=node)
        (myself,) = [name for name, it in described.items() if "myself" in it["flags"]]
        assert myself == node.name, (myself, node.name)
        assert described[myself]["node_id"] == text(client.cluster_myid(node)), described
        views[node.name] = {name: (it["node_id"], it["slots"]) for name, it in described.items()}
        assert client.info("cluster", target_nodes=node)["cluster_enabled"] == 1
        assert len(client.cluster_shards(target_nodes=node)) == len(nodes)
        assert client.ping(target_nodes=node)
    assert all(view == views[nodes[0].name] for view in views.values())
    ranges = sorted(client.cluster_slots())
    assert len(ranges) == len(nodes) and ranges[0][0] == 0 and ranges[-1][1] == SLOTS - 1, ranges
    assert all(left[1] + 1 == right[0] for left, right in zip(ranges, ranges[1:])), ranges
    return nodes


def size(client):
    """Keys of all nodes; unless told so, redis-py asks one."""
    return client.dbsize(target_nodes=RedisCluster.PRIMARIES)


def moved(client, nodes):
    """A node that does not own a key names the one that does, and redis-py goes there by itself."""
    for i in range(20):
        key = f"moved:{i}"
        owner = client.get_node_from_key(key)
        client.set(key, i)
        for node in nodes:
            assert client.execute_command("GET", key, target_nodes=node) == b"%d" % i
            if node != owner:
                plain = redis.Redis(host=node.host, port=node.port, protocol=2)
                # redis-py keeps the error's first word to itself.
                expected = f"{client.keyslot(key)} {owner.host}:{owner.port}"
                assert str(error_of(plain.get, key)).removeprefix("MOVED ") == expected
                plain.close()


def quiet(client, nodes):
    """No node refused anything, or passed a command on to another core."""
    for node in nodes:
        assert client.info("errorstats", target_nodes=node) == {}, client.info("errorstats", target_nodes=node)
        assert client.info("stats", target_nodes=node)["commands_forwarded"] == 0


def error_of(call, *arguments):
    try:
        reply = call(*arguments)
    except redis.RedisError as error:
        return error
    raise AssertionError(f"no error, but {reply!r}")


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def connect(port, protocol):
    """A client as it comes has to work; then one that does not ask for notices of maintenance, which are refused."""
    with RedisCluster(host="127.0.0.1", port=port, protocol=protocol) as client:
        client.flushall()
        assert client.set("first", "1") is True
        assert client.get("first") == b"1"
        client.flushall()
        client.config_resetstat(target_nodes=RedisCluster.PRIMARIES)
    return RedisCluster(host="127.0.0.1", port=port, protocol=protocol, **WITHOUT_NOTICES)


def check(port, any_slot, protocol):
    client = connect(port, protocol)
    draw = random.Random(port)
    nodes = topology(client)
    # The client goes on to the ports of the cores whichever it was given.
    assert (port in {node.port for node in nodes}) != any_slot
    strings(client, draw)
    pipelines(client, draw)
    quiet(client, nodes)
    # redis-py 5 does not recognize MOVED over RESP3.
    if protocol == 2 or redis.VERSION[0] > 5:
        moved(client, nodes)
    client.flushall()
    assert size(client) == 0
    client.close()
    return len(nodes)


given, any_slot = int(sys.argv[1]), sys.argv[2:] == ["any-slot"]
# By the any-slot port only the way to the nodes differs.
for protocol in (2,) if any_slot else (2, 3):
    count = check(given, any_slot, protocol)
print(f"redis-py {redis.__version__} RedisCluster{' by the any-slot port' if any_slot else ''}: ok, {count} nodes")
