# Sourced, with $1 the server's binary: a working directory that goes away at the end, and one server at a time in it.

binary=$(realpath "$1")
work=$(mktemp -d "$(dirname "$binary")/smoke.XXXXXX")
pid=
trap '[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; rm -rf "$work"' EXIT

# Starts a server on $data; `port` is the one that answers for every key, `core_ports` are those of its cores, in order.
data=$work/data
start() {
    # By us, before we look: the server's own process empties it when it comes to that, and what it held named another port.
    : >"$work/log"
    "$binary" server --port 0 --admin-port 0 --dir "$data" --log-format json "$@" 2>"$work/log" &
    pid=$!
    for _ in $(seq 600); do
        port=$(sed -n 's/.*"address":"127\.0\.0\.1:\([0-9]*\)".*/\1/p' "$work/log" | head -1)
        if [ -n "$port" ]; then
            # shellcheck disable=SC2034 # for those who source this
            mapfile -t core_ports < <(cli cluster nodes | sed -n 's/.*:\([0-9]*\)@.*/\1/p')
            return
        fi
        kill -0 "$pid" 2>/dev/null || { cat "$work/log"; exit 1; }
        read -rt 0.1 <> <(:) || true
    done
    cat "$work/log"; echo "the server did not get ready"; exit 1
}
stop() { kill -TERM "$pid"; wait "$pid" || { echo "stopped with an error"; cat "$work/log"; exit 1; }; pid=; }
cli() { redis-cli -p "$port" "$@"; }
expect() { [ "$2" = "$3" ] || { echo "$1: got '$2', expected '$3'"; cat "$work/log"; exit 1; }; }
errors() { cli info errorstats | grep -c '^errorstat_' || true; }
