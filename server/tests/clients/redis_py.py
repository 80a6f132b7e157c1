"""redis-py, unmodified, against a running server: strings, keys, expiry, pipelines, RESP2 and RESP3."""
import sys

import redis


def check(client):
    client.flushall()
    assert client.set("a", "1") is True
    assert client.get("a") == b"1"
    assert client.incr("a", 4) == 5
    assert client.mset({"m1": "x", "m2": "y"}) is True
    assert client.mget("m1", "missing", "m2") == [b"x", None, b"y"]
    assert client.set("once", "1", nx=True) is True
    assert client.set("once", "2", nx=True) is None
    assert client.set("t", "1", px=100_000) is True
    assert 0 < client.pttl("t") <= 100_000
    assert client.delete("m1", "m2", "missing") == 2
    assert client.rpush("list", "a", "b", "c") == 3
    assert client.lrange("list", 0, -1) == [b"a", b"b", b"c"]
    assert client.hset("hash", mapping={"f": "v", "g": "w"}) == 2
    assert client.hgetall("hash") == {b"f": b"v", b"g": b"w"}
    assert client.sadd("set", "x", "y") == 2
    assert client.zadd("zset", {"m": 1.5, "n": 2}) == 2
    # Versions and protocols differ in how they nest it.
    (popped,) = client.zpopmin("zset", 1)
    assert tuple(popped) == (b"m", 1.5), popped
    with client.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.set(f"p:{i}", i)
            pipe.get(f"p:{i}")
        replies = pipe.execute()
    assert replies[0::2] == [True] * 1000
    assert replies[1::2] == [str(i).encode() for i in range(1000)]
    assert set(client.scan_iter("p:*", count=50)) == {f"p:{i}".encode() for i in range(1000)}
    big = b"\x00\xff" * (5 << 20)
    client.set("big", big)
    assert client.get("big") == big
    try:
        client.lpush("a", "x")
    except redis.ResponseError as error:
        assert str(error).startswith("WRONGTYPE"), error
    else:
        raise AssertionError("no WRONGTYPE")
    assert client.dbsize() > 1000
    assert client.info("server")["redis_version"]
    assert client.config_get("maxmemory")
    assert client.client_setname("tester") is True
    assert client.client_getname() in (b"tester", "tester")


for protocol in (2, 3):
    check(redis.Redis(port=int(sys.argv[1]), protocol=protocol))
print(f"redis-py {redis.__version__}: ok")
