#!/usr/bin/env bash
# Runs a client suite on the official Go SDK (a folder with a Go program) against servers of ours.
# Usage: scripts/interop.sh FOLDER [KES [STORE]]
#   FOLDER: the suite; KES: the binary, default target/debug/kes
#   STORE: fs (default), one server with key files; cluster: three nodes; outages: three nodes, one of
#   which is killed and started again every five seconds
# More arguments for the suite come from the variable INTEROP_ARGS.
set -euo pipefail
suite=$(cd "$1" && pwd)
target=${CARGO_TARGET_DIR:-$(dirname "$0")/../target}
kes=$(realpath "${2:-$target/debug/kes}")
store=${3:-fs}
case $store in
fs) nodes=1 arguments=() ;;
cluster) nodes=3 arguments=(-delete-visible 5s) ;;
outages) nodes=3 arguments=(-delete-visible 20s -outages 20s -rounds 3) ;;
*) echo "no such store: $store" >&2; exit 2 ;;
esac

work=$(mktemp -d)
killer=
cleanup() {
    [ -z "$killer" ] || kill "$killer" 2>/dev/null || true
    for file in "$work"/node*.pid; do
        [ ! -f "$file" ] || kill "$(cat "$file")" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap cleanup EXIT
cp -r "$suite" "$work/suite"
cd "$work"

admin=$("$kes" identity 2>/dev/null)
app=$("$kes" identity 2>/dev/null)
"$kes" identity new --key server.key --cert server.crt --ip 127.0.0.1 --dns localhost >/dev/null
"$kes" cluster root-key new --out root.key >/dev/null
first=$((20000 + RANDOM % 20000))

write_config() { # node
    cat <<EOF
version: v1
address: 127.0.0.1:$((first + $1))
admin:
  identity: $("$kes" identity of "$admin" 2>/dev/null)
tls:
  key: server.key
  cert: server.crt
policy:
  app:
    allow:
    - /v1/key/create/my-app*
    - /v1/key/generate/my-app*
    - /v1/key/decrypt/my-app*
    deny:
    - /v1/key/generate/my-app-internal*
    - /v1/key/decrypt/my-app-internal*
    identities:
    - $("$kes" identity of "$app" 2>/dev/null)
log:
  error: on
  audit: on
EOF
    if [ "$nodes" = 1 ]; then
        printf 'keystore:\n  fs:\n    path: keys\n'
        return
    fi
    printf 'cluster:\n  name: node%s\n  address: 127.0.0.1:%s\n  path: data%s\n' "$1" $((first + 10 + $1)) "$1"
    printf '  root_key:\n    file: root.key\n  members:\n'
    for member in 1 2 3; do
        printf '    node%s: 127.0.0.1:%s\n' "$member" $((first + 10 + member))
    done
}

start_node() { # node
    "$kes" server --config "config$1.yml" >>"node$1.out" 2>>"node$1.err" &
    echo $! >"node$1.pid"
}

export SSL_CERT_FILE=$work/server.crt KES_API_KEY=$admin
servers=
for node in $(seq "$nodes"); do
    write_config "$node" >"config$node.yml"
    start_node "$node"
    servers=$servers${servers:+,}https://127.0.0.1:$((first + node))
done
for node in $(seq "$nodes"); do
    for attempt in $(seq 300); do
        "$kes" ls -s "127.0.0.1:$((first + node))" >/dev/null 2>&1 && break
        [ "$attempt" -lt 300 ] || { cat "node$node.err" >&2; exit 1; }
        kill -0 "$(cat "node$node.pid")" 2>/dev/null || { cat "node$node.err" >&2; exit 1; }
        sleep 0.1
    done
done

kill_in_turn() {
    while true; do
        for node in $(seq "$nodes"); do
            kill -9 "$(cat "node$node.pid")"
            sleep 2
            start_node "$node"
            sleep 3
        done
    done
}
if [ "$store" = outages ]; then
    kill_in_turn 2>/dev/null &
    killer=$!
fi

cd suite
# shellcheck disable=SC2086
if ! go run . -server "$servers" -admin-key "$admin" -app-key "$app" -policy app "${arguments[@]}" ${INTEROP_ARGS:-}; then
    for node in $(seq "$nodes"); do
        echo "--- the errors of node $node" >&2
        tail -n 50 "../node$node.err" >&2
    done
    exit 1
fi
