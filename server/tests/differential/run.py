"""Random streams of commands on Slotcore and redis-server: both must say the same, and hold the same.

    run.py OUR-PORT THEIR-PORT COMMANDS [FIRST-SEED [several-cores] [beyond-memory]]

A stream is 400 commands made from one seed, on an empty key space; streams with an even seed speak RESP2, those with an odd
one RESP3. After it every key is read on both. A stream that fails is cut down to the few commands that still fail, which are
printed as a client would type them; its seed alone repeats it: run.py OUR-PORT THEIR-PORT 400 SEED.
"""
import sys

import compare
import keyspace
from grammar import Language
from resp import Client, Error, Status

STREAM_COMMANDS = 400
# Sent before replies are read. Few enough that neither side ever waits for the other to read.
PIPELINE = 50
FAILURES_MAX = 5


class Difference(Exception):
    """Step `at` of a stream was answered differently."""

    def __init__(self, at, command, ours, theirs):
        super().__init__()
        self.at, self.command, self.ours, self.theirs = at, command, ours, theirs


def text(command):
    return " ".join(
        word.decode() if word and all(33 <= byte < 127 and byte not in b'"\'\\' for byte in word)
        else '"%s"' % "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word)
        for word in command
    )


class Pair:
    """A connection to each of the two servers."""

    def __init__(self, ours, theirs):
        self.ports = (ours, theirs)
        self.clients = []

    def begin(self, protocol):
        for client in self.clients:
            client.close()
        self.clients = [Client(port) for port in self.ports]
        for client in self.clients:
            if protocol == 3:
                client.ask("HELLO", "3")
            client.ask("FLUSHALL")

    def both(self, commands):
        for client in self.clients:
            client.send(commands)
        for command in commands:
            ours, theirs = (client.read() for client in self.clients)
            yield command, ours, theirs

    def run(self, commands, protocol):
        """Raises a Difference at the first command that is answered differently, or behind the last one."""
        self.begin(protocol)
        queued = None
        for start in range(0, len(commands), PIPELINE):
            for offset, (command, ours, theirs) in enumerate(self.both(commands[start : start + PIPELINE])):
                name = command[0].upper()
                if name == b"EXEC" and queued is not None:
                    same = compare.same_exec(queued, ours, theirs)
                else:
                    same = compare.same(command, ours, theirs)
                if not same:
                    raise Difference(start + offset, command, ours, theirs)
                if name == b"MULTI" and queued is None and isinstance(ours, Status):
                    queued = []
                elif name in (b"EXEC", b"DISCARD") and not (isinstance(ours, Error) and ours.startswith(b"ERR wrong number")):
                    queued = None
                elif queued is not None and ours == b"QUEUED":
                    queued.append(command)
        if queued is not None:
            for _ in self.both([[b"DISCARD"]]):
                pass
        for database in keyspace.DATABASES:
            for _ in self.both([[b"SELECT", database]]):
                pass
            for command, ours, theirs in self.both(keyspace.reads(self.clients[1])):
                if not compare.same(command, ours, theirs):
                    raise Difference(len(commands), command, ours, theirs)

    def difference(self, commands, protocol):
        try:
            self.run(commands, protocol)
        except Difference as found:
            return found
        return None

    def shrink(self, commands, found, protocol):
        """The fewest commands, as far as leaving out pieces finds them, whose last one, or whose end, still differs."""
        commands = commands[: found.at + 1]
        size = len(commands) // 2
        while size:
            at = 0
            while at < len(commands):
                fewer = commands[:at] + commands[at + size :]
                if fewer and (still := self.difference(fewer, protocol)):
                    commands, found = fewer[: still.at + 1], still
                else:
                    at += size
            size //= 2
        return commands, found


def for_several_cores(commands):
    """Without what several cores refuse, or answer in another way: docs/protocol.md, "Keys of several cores"."""
    in_multi = False
    for command in commands:
        name = command[0].upper()
        words = {word.upper() for word in command[2:]}
        in_multi = name == b"MULTI" or in_multi and name not in (b"EXEC", b"DISCARD")
        if not (
            name == b"SCAN"
            # What was brought together is encoded as if restored.
            or name == b"OBJECT" and command[1].upper() == b"ENCODING"
            or in_multi and name in (b"DBSIZE", b"FLUSHALL", b"FLUSHDB", b"KEYS", b"RANDOMKEY", b"SWAPDB")
            or name in (b"SORT", b"SORT_RO") and words & {b"BY", b"GET"}
        ):
            yield command


def main():
    ours, theirs, wanted = (int(word) for word in sys.argv[1:4])
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    several_cores = "several-cores" in sys.argv[5:]
    compare.beyond_memory = "beyond-memory" in sys.argv[5:]
    language, pair, failures = Language(), Pair(ours, theirs), []
    streams = -(-wanted // STREAM_COMMANDS)
    for seed in range(first, first + streams):
        commands, protocol = language.stream(seed, STREAM_COMMANDS), 2 + seed % 2
        if several_cores:
            commands = list(for_several_cores(commands))
        found = pair.difference(commands, protocol)
        if not found:
            continue
        few, found = pair.shrink(commands, found, protocol)
        print(f"\nseed {seed}, RESP{protocol}: after")
        for command in few[: found.at]:
            print("   ", text(command))
        print(f"to  {text(found.command)}\n    Slotcore says     {found.ours!r}\n    redis-server says {found.theirs!r}", flush=True)
        failures.append(seed)
        if len(failures) == FAILURES_MAX:
            break
    if failures:
        sys.exit(f"{len(failures)} streams differ: seeds {failures}")
    print(f"{streams} streams of {STREAM_COMMANDS} commands: the same replies, the same keys")


if __name__ == "__main__":
    main()
