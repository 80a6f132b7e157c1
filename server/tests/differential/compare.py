"""When two replies to the same command are the same.

They must be equal, type by type and byte by byte, but for what Redis leaves open: the order in sets and hashes, times that
have gone by, and chance. And for what is no matter of a command's outcome:

- how many digits of a score are written: 7.2 writes the fewest that tell it, as Slotcore does;
- which encoding a string has that was changed in place; that SORT makes a skip list of a sorted set;
- the sign of a score that is 0;
- the last bits of a distance, which are those of the machine's library;
- the cached count in a HyperLogLog, which PFCOUNT in Redis writes and here does not;
- how bytes that are no text look within an error's text;
- SORT that Redis refuses because a number in an earlier command of the same packet was too large, which it remembers (errno);
- LPOS with the lowest RANK there is, which 7.2 refuses, as Slotcore does, and 7.0 cannot negate;
- where keys are in files, how many there are: a key that was set without a look at the files may not be counted
  (docs/operating.md, "Memory and disk").
"""
import resp

# Some keys are only in files: DBSIZE may be low.
beyond_memory = False

# Members or fields in no order.
UNORDERED = {
    b"smembers", b"sinter", b"sunion", b"sdiff", b"hkeys", b"hvals", b"keys", b"srandmember", b"spop",
}
# The same, in pairs.
UNORDERED_PAIRS = {b"hgetall"}
# `[cursor, elements]`
SCANS = {b"scan": False, b"sscan": False, b"hscan": True, b"zscan": True}
# Seconds or milliseconds left, and how far they may be apart: the two servers were asked one after the other.
TIMES = {b"ttl": 3, b"expiretime": 3, b"pttl": 3000, b"pexpiretime": 3000}
# Where scores are in the reply: numbers that are the same are the same, however they are written.
SCORED = (b"z", b"geo", b"bz")
STRING_ENCODINGS = {b"int", b"embstr", b"raw"}
# Names in the replies of XINFO whose values are times, or depend on how a server keeps a stream.
XINFO_OPEN = {b"idle", b"inactive", b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time"}


def order(value):
    """A value that sorts next to its equals, whatever its type."""
    return (type(value).__name__, repr(value))


def pairs(values):
    if isinstance(values, resp.Map):
        return sorted(values, key=order)
    return sorted(zip(values[::2], values[1::2]), key=order)


def normal(command, reply):
    """The reply with everything left out that may differ."""
    name = command[0].lower()
    if isinstance(reply, (resp.Error, resp.Status)) or not isinstance(reply, list):
        if name == b"randomkey":
            return reply is None
        return reply
    kind = type(reply)
    with_values = command[-1].upper() in (b"WITHVALUES", b"WITHSCORES")
    if name in (b"hrandfield", b"zrandmember"):
        nested = reply and isinstance(reply[0], list)
        return kind, sorted(reply, key=order) if nested or not with_values else pairs(reply)
    if name in UNORDERED:
        return kind, sorted(reply, key=order)
    if name in UNORDERED_PAIRS:
        return kind, pairs(reply)
    if name in SCANS:
        cursor, found = reply
        return cursor, pairs(found) if SCANS[name] else sorted(found, key=order)
    if name == b"xinfo":
        return closed(reply)
    if name == b"xpending" and len(command) > 3:
        return [[entry[0], entry[1], entry[3]] for entry in reply]
    return typed(reply)


def score(text):
    """What two ways to write a score have in common; other text as it is."""
    try:
        number = float(text)
    except ValueError:
        return bytes(text)
    return "%.13g" % (number + 0.0)


def with_scores(value):
    """A reply in which every text that is a number is one."""
    if isinstance(value, resp.Map):
        return resp.Map([(k, with_scores(v)) for k, v in value])
    if isinstance(value, list):
        return type(value)(with_scores(v) for v in value)
    if isinstance(value, bytes) and not isinstance(value, (resp.Error, resp.Status)):
        return type(value).__name__, score(value)
    return value


def typed(value):
    """A value with the types of what is in it, which lists do not compare."""
    if isinstance(value, resp.Map):
        return "map", [(typed(k), typed(v)) for k, v in value]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [typed(v) for v in value]
    return type(value).__name__, value


def closed(value):
    """A reply of XINFO without what it leaves open: a map, or in RESP2 names and values in turn."""
    if isinstance(value, resp.Map):
        return "map", [(k, closed(v)) for k, v in value if k not in XINFO_OPEN]
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return "names", [(k, closed(v)) for k, v in zip(value[::2], value[1::2]) if k not in XINFO_OPEN]
    if isinstance(value, list):
        return [closed(v) for v in value]
    return type(value).__name__, value


def same(command, ours, theirs):
    name = command[0].lower()
    stale = name in (b"sort", b"sort_ro") and isinstance(theirs, resp.Error) and not isinstance(ours, resp.Error)
    if stale and theirs.startswith(b"ERR One or more scores can't be converted"):
        return True
    lowest = name == b"lpos" and b"-9223372036854775808" in command
    if lowest and isinstance(ours, resp.Error) and ours.startswith(b"ERR value is out of range"):
        return True
    if name in TIMES and type(ours) is type(theirs) is int:
        return ours == theirs or (min(ours, theirs) > 0 and abs(ours - theirs) <= TIMES[name])
    if type(ours) is not type(theirs):
        return False
    if name == b"dbsize" and beyond_memory and type(ours) is int:
        return 0 <= ours <= theirs
    if isinstance(ours, resp.Error):
        return ours == theirs or same_error(command, ours, theirs)
    if isinstance(ours, bytes) and ours[:4] == theirs[:4] == b"HYLL":
        return ours[:8] + ours[16:] == theirs[:8] + theirs[16:]
    if normal(command, ours) == normal(command, theirs):
        return True
    if name == b"object":
        return {ours, theirs} <= STRING_ENCODINGS or (ours, theirs) == (b"listpack", b"skiplist")
    if not name.startswith(SCORED):
        return False
    return normal(command, with_scores(ours)) == normal(command, with_scores(theirs))


def same_error(command, ours, theirs):
    is_text = all(32 <= byte < 127 for word in command for byte in word)
    return not is_text and ours.split(b" ")[0] == theirs.split(b" ")[0]


def same_exec(commands, ours, theirs):
    """The reply to EXEC: each element is that of a command which was kept."""
    if type(ours) is not list or type(theirs) is not list or len(ours) != len(theirs) or len(ours) != len(commands):
        return type(ours) is type(theirs) and ours == theirs
    return all(same(*each) for each in zip(commands, ours, theirs))
