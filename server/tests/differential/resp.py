"""A plain client: pipelines of commands, replies with their RESP type left in them."""
import socket


class Error(bytes):
    """An error reply, its text."""


class Status(bytes):
    """A simple string."""


class Double(bytes):
    """A double, its text."""


class Big(bytes):
    """A big number, its text."""


class Verbatim(bytes):
    """A verbatim string."""


class Map(list):
    """A map: its pairs, in the order they came."""


class Set(list):
    """A set, in the order it came."""


class Push(list):
    """A push."""


class NilArray:
    """`*-1`: told from `$-1`, which is None."""

    def __eq__(self, other):
        return isinstance(other, NilArray)

    def __repr__(self):
        return "nil array"


class Client:
    """One connection. `send` any number of commands, then `read` as many replies."""

    def __init__(self, port, patience_s=120):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def send(self, commands):
        parts = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            for word in command:
                parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self.socket.sendall(b"".join(parts))

    def ask(self, *words):
        self.send([[word.encode() if isinstance(word, str) else word for word in words]])
        return self.read()

    def ask_all(self, commands):
        self.send(commands)
        return [self.read() for _ in commands]

    def close(self):
        self.file.close()
        self.socket.close()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended within {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!":
            size = int(rest)
            if size < 0:
                return None
            text = self.file.read(size + 2)[:-2]
            return text if kind == b"$" else Error(text) if kind == b"!" else Verbatim(text)
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            return Error(rest)
        if kind in b"*~>":
            size = int(rest)
            if size < 0:
                return NilArray()
            values = [self.read() for _ in range(size)]
            return values if kind == b"*" else Set(values) if kind == b"~" else Push(values)
        if kind == b"%":
            return Map([(self.read(), self.read()) for _ in range(int(rest))])
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return Double(rest)
        if kind == b"(":
            return Big(rest)
        raise ValueError(f"no such type of reply: {line!r}")
