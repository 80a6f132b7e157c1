"""The whole key space of a server, as its clients can read it."""
import resp

READS = {
    b"string": lambda key: [b"GET", key],
    b"list": lambda key: [b"LRANGE", key, b"0", b"-1"],
    b"set": lambda key: [b"SMEMBERS", key],
    b"hash": lambda key: [b"HGETALL", key],
    b"zset": lambda key: [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
    b"stream": lambda key: [b"XRANGE", key, b"-", b"+"],
}
# Those that the language selects.
DATABASES = (b"0", b"1", b"2")
# Besides what XRANGE tells of a stream.
STREAM_FACTS = (b"STREAM", b"GROUPS")


def reads(client):
    """Commands that together read every key of the database that is selected, in the same order on both servers that hold
    the same."""
    keys = sorted(client.ask("KEYS", "*"))
    kinds = client.ask_all([[b"TYPE", key] for key in keys])
    commands = [[b"KEYS", b"*"]]
    for key, kind in zip(keys, kinds):
        if isinstance(kind, resp.Error) or kind not in READS:
            continue
        commands += [[b"TYPE", key], [b"OBJECT", b"ENCODING", key], [b"PEXPIRETIME", key], READS[bytes(kind)](key)]
        if kind == b"stream":
            commands += [[b"XINFO", fact, key] for fact in STREAM_FACTS]
            commands += [[b"XPENDING", key, group] for group in (b"g1", b"g2")]
    return commands
