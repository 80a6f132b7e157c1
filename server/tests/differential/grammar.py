"""Draws random commands from the language in commands.txt.

A stream is a list of commands made from one seed; a command is a list of byte strings. Nothing here looks at replies, so
any part of a stream can be sent again, which is how a failing one is shrunk.
"""
import random
import re
from pathlib import Path

# Keys by type: few, so that commands meet each other's values.
KEYS = {
    "str": [b"str1", b"str2", b"str\x00\r\n\xff"],
    "num": [b"num1", b"num2"],
    "bits": [b"bits1", b"bits2"],
    "hll": [b"hll1", b"hll2"],
    "hash": [b"hash1", b"hash2"],
    "list": [b"list1", b"list2"],
    "set": [b"set1", b"set2", b"set3"],
    "zset": [b"zset1", b"zset2"],
    "geo": [b"geo1", b"geo2"],
    "stream": [b"stream1", b"stream2"],
}
ALL_KEYS = [key for keys in KEYS.values() for key in keys]
# What commands meant for another type may meet as well. A HyperLogLog only meets its own commands, as a count is cached in it
# at moments of Redis's choice; scores that are no places mean nothing to the commands about places.
CONFUSED = [key for kind, keys in KEYS.items() for key in keys if kind not in ("hll", "geo")]
# Only for commands about them.
LEXICAL_KEYS = [b"lex1", b"lex2"]
# What SORT may sort by.
WEIGHT_KEYS = [b"weight1", b"weight2", b"weighta"]
# Not put into commands about streams: Redis takes numbers that are written in these ways for an id, Slotcore does not; and
# an id of the moment is another one on each server.
NOT_FOR_STREAMS = (b" 1", b"+1", b"01", b"-0", b"*")
# How often a command is given a key meant for another type.
FOREIGN_KEY = 0.06
# How often a command loses, doubles or gets a strange argument.
BROKEN = 0.05

STRANGE = [
    b"", b"-1", b"0", b"abc", b"nan", b"-nan", b"inf", b"-inf", b"+inf", b"1e400", b"-0", b" 1", b"1 ", b"+1", b"01", b"0y10",
    b"1.5", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775809",
    b"18446744073709551615", b"18446744073709551616", b"4294967296", b"2147483648", b"-2147483649", b"\xff\x00\r\n", b"(1",
    b"[a", b"*", b"$", b"-", b"+", b"1-", b"0-0", b"GET", b"LIMIT", b"COUNT", b"WITHSCORES",
]
MEMBERS = [b"a", b"b", b"c", b"d", b"1", b"2", b"3", b"10", b"-5", b"2.5", b"\xff\r\n\x00", b"", b"m" * 70]
INTS = [0, 1, -1, 2, 7, -13, 100, 127, 128, 255, 65536, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = ["0", "1", "-1", "0.1", "3.14159", "1e3", "-2.5e-3", "1e17", "5e-300", "1.7976931348623157e308", "0.30000000000000004"]
SCORES = ["0", "1", "2", "-1", "1.5", "3", "-2.25", "1e20", "inf", "-inf", "0.1", "1e-7", "123456789012345680"]
# Far beyond the run of a test; what is over already is deleted at once.
AT_S = [1, 4_102_444_800, 4_102_444_801, 9_999_999_999]


def small(rng):
    return str(rng.choice([0, 1, 1, 2, 3, 5, 100, -1])).encode()


def index(rng):
    return str(rng.choice([0, 0, 1, 2, 3, 5, -1, -1, -2, -3, 100, -100])).encode()


def number(choices):
    return lambda rng: str(rng.choice(choices)).encode()


def value(rng):
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(MEMBERS)
    if kind < 0.75:
        return str(rng.choice(INTS)).encode()
    if kind < 0.85:
        return rng.choice(FLOATS).encode()
    if kind < 0.97:
        return bytes(rng.randrange(1, 256) for _ in range(rng.randrange(1, 20)))
    return bytes([rng.randrange(97, 123)]) * rng.choice([64, 65, 500, 5000])


def bound(rng):
    text = rng.choice(SCORES)
    return (rng.choice(["", "", "("]) + text).encode()


def lex(rng):
    return rng.choice([b"-", b"+", b"-", b"+", b"[", b"(", b"a"] + [mark + m for mark in (b"[", b"(") for m in MEMBERS[:8]])


def stream_id(rng):
    if rng.random() < 0.2:
        return rng.choice([b"0", b"0-0", b"1", b"99", b"18446744073709551615-18446744073709551615"])
    return b"%d-%d" % (rng.randrange(1, 12), rng.randrange(0, 4))


def new_stream_id(rng):
    return b"%d-*" % rng.randrange(1, 40) if rng.random() < 0.3 else b"%d-%d" % (rng.randrange(1, 40), rng.randrange(0, 4))


def key_of(kind):
    others = [] if kind in ("hll", "geo") else CONFUSED

    def draw(rng):
        return rng.choice(others) if others and rng.random() < FOREIGN_KEY else rng.choice(KEYS[kind])

    return draw


# Of three keys and one argument.
SCRIPTS = [
    b"return {redis.call('type', KEYS[1]).ok, redis.call('exists', KEYS[2], KEYS[3])}",
    b"redis.call('append', KEYS[2], ARGV[1]) return redis.call('lpush', KEYS[3], ARGV[1], 'x')",
    b"redis.call('set', KEYS[2], ARGV[1]) return redis.call('rpush', KEYS[2], ARGV[1])",
    b"local r = redis.pcall('incr', KEYS[2]) redis.call('rename', KEYS[1], KEYS[3]) return r",
    b"redis.call('del', KEYS[1], KEYS[2]) return redis.call('llen', KEYS[3])",
]

DRAWS = {
    **{kind: key_of(kind) for kind in KEYS},
    "any": lambda rng: rng.choice(ALL_KEYS) if rng.random() < 0.9 else b"nosuchkey",
    "movable": lambda rng: rng.choice(CONFUSED),
    "lexical": lambda rng: rng.choice(LEXICAL_KEYS),
    "weight": lambda rng: rng.choice(WEIGHT_KEYS),
    "zsetorset": lambda rng: rng.choice(KEYS["zset"] + KEYS["zset"] + KEYS["set"]),
    "sortable": lambda rng: rng.choice(KEYS["list"] + KEYS["set"] + KEYS["zset"]),
    "value": value,
    "member": lambda rng: rng.choice(MEMBERS),
    "count": lambda rng: rng.choice([b"n1", b"n2", b"n3", b"a"]),
    "int": number(INTS),
    # Without the smallest: what Redis makes of that one rests on an overflow within it.
    "bitint": number(INTS[:-1]),
    "float": number(FLOATS + ["nan", "inf", "abc", "1e309"]),
    "score": number(SCORES + ["nan"]),
    "minscore": bound,
    "lex": lex,
    "small": small,
    "index": index,
    "offset": number([0, 1, 2, 7, 8, 63, 64, 100, 1000]),
    "ttl": number([-1, 0, 100_000, 200_000, 1_000_000]),
    "ttlms": number([-1, 0, 100_000_000, 200_000_000, 1_000_000_000]),
    "at": number(AT_S),
    "atms": number([at * 1000 for at in AT_S]),
    "future": number(AT_S[1:]),
    "futurems": number([at * 1000 for at in AT_S[1:]]),
    "bitkind": lambda rng: rng.choice([b"u1", b"u4", b"u8", b"i8", b"u16", b"i32", b"u63", b"i64", b"u64", b"i65", b"i0"]),
    "bitat": lambda rng: rng.choice([b"0", b"1", b"7", b"#0", b"#1", b"#3", b"100", b"-1"]),
    "lon": number([0, 13.361389, 15.087269, -122.4, 179.9, -180, 181, 2.3522]),
    "lat": number([0, 38.115556, 37.502669, 37.77, 85, -85.05, 86, 48.8566]),
    "radius": number([0, 1, 200, 500.5, 10000, 30000, -1]),
    "sid": stream_id,
    "newsid": new_stream_id,
    "sbound": lambda rng: rng.choice([b"-", b"+", b"-", b"+", b"(" + stream_id(rng), stream_id(rng)]),
    "group": lambda rng: rng.choice([b"g1", b"g2"]),
    "consumer": lambda rng: rng.choice([b"c1", b"c2"]),
    "glob": lambda rng: rng.choice([b"*", b"*1", b"s*", b"[a-l]*2", b"h?sh1", b"nothing*", b"*\\1"]),
    "type": lambda rng: rng.choice([b"string", b"list", b"set", b"zset", b"hash", b"stream", b"nosuch"]),
    "pattern": lambda rng: rng.choice([b"#", b"weight*", b"hash*->a", b"nosuch", b"*"]),
    # Without a `*` nothing is sorted, and what is a set has no order.
    "sortby": lambda rng: rng.choice([b"weight*", b"hash*->a", b"*"]),
    "script": lambda rng: rng.choice(SCRIPTS),
    "badtimeout": lambda rng: rng.choice([b"-1", b"abc", b"nan", b"1e400", b""]),
}


def parse(text):
    """A line of the language as a tree: words, ("draw", name), ("one", choices), ("some", choices), ("many", tree)."""
    tokens = re.findall(r"<[a-z]+>|\}\+|[(){}\[\]|]|[^\s(){}\[\]|<]+|>|<", text)
    at = 0

    def sequence(ends):
        nonlocal at
        items = []
        while at < len(tokens) and tokens[at] not in ends:
            token = tokens[at]
            at += 1
            if token in "([":
                close = ")" if token == "(" else "]"
                choices = [sequence(("|", close))]
                while tokens[at] == "|":
                    at += 1
                    choices.append(sequence(("|", close)))
                at += 1
                items.append(("one" if token == "(" else "some", choices))
            elif token == "{":
                items.append(("many", sequence(("}+",))))
                at += 1
            elif token.startswith("<") and len(token) > 1:
                items.append(("draw", token[1:-1]))
            else:
                items.append(token.encode())
        return items

    return sequence(())


def expand(items, rng, out):
    for item in items:
        if isinstance(item, bytes):
            out.append(item)
            continue
        kind, rest = item
        if kind == "draw":
            out.append(DRAWS[rest](rng))
        elif kind == "one":
            expand(rng.choice(rest), rng, out)
        elif kind == "some":
            if rng.random() < 0.4:
                expand(rng.choice(rest), rng, out)
        else:
            for _ in range(rng.choice([1, 1, 2, 3])):
                expand(rest, rng, out)


class Language:
    def __init__(self, path=Path(__file__).with_name("commands.txt")):
        self.weights, self.lines = [], []
        for line in path.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            weight, whole = 1.0, False
            if found := re.match(r"([0-9.]+): ", line):
                weight, line = float(found[1]), line[found.end() :]
            if line.startswith("! "):
                whole, line = True, line[2:]
            self.weights.append(weight)
            self.lines.append((parse(line), whole))

    def command(self, rng):
        (tree, whole), command = rng.choices(self.lines, self.weights)[0], []
        expand(tree, rng, command)
        if not whole and rng.random() < BROKEN:
            self.damage(command, rng)
        return command

    @staticmethod
    def damage(command, rng):
        how, at = rng.random(), rng.randrange(1, len(command) + 1)
        strange = rng.choice(STRANGE)
        if command[0].startswith(b"X") and strange in NOT_FOR_STREAMS:
            strange = b"-1"
        if how < 0.25 and len(command) > 1:
            del command[min(at, len(command) - 1)]
        elif how < 0.45:
            command.insert(at, strange)
        elif len(command) > 1:
            command[min(at, len(command) - 1)] = strange

    def stream(self, seed, length):
        """`length` commands, some of them in transactions, a few with watched keys."""
        rng, commands = random.Random(seed), []
        while len(commands) < length:
            kind = rng.random()
            if kind < 0.02:
                key = rng.choice(ALL_KEYS)
                commands.append([b"WATCH", key])
                if rng.random() < 0.3:
                    commands.append([b"SET", key, value(rng)])
                commands += self.transaction(rng)
            elif kind < 0.06:
                commands += self.transaction(rng)
            elif kind < 0.063:
                commands.append([rng.choice([b"EXEC", b"DISCARD", b"UNWATCH"])])
            else:
                commands.append(self.command(rng))
        return commands[:length]

    def transaction(self, rng):
        inside = [self.command(rng) for _ in range(rng.randrange(0, 6))]
        if rng.random() < 0.05:
            inside.append([rng.choice([b"MULTI", b"WATCH"]), b"x"][: rng.choice([1, 2])])
        return [[b"MULTI"], *inside, [rng.choice([b"EXEC", b"EXEC", b"EXEC", b"DISCARD"])]]
