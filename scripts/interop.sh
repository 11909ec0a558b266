#!/usr/bin/env bash
# Runs a client suite on the official Go SDK (a folder with a Go program) against a server of ours.
# Usage: scripts/interop.sh FOLDER [KES [STORE]]
#   FOLDER: the suite; KES: the binary, default target/debug/kes; STORE: fs (default), or cluster: one node
# More arguments for the suite come from the variable INTEROP_ARGS.
set -euo pipefail
suite=$(cd "$1" && pwd)
target=${CARGO_TARGET_DIR:-$(dirname "$0")/../target}
kes=$(realpath "${2:-$target/debug/kes}")
[ -x "$kes" ] || kes=$(realpath "$target/debug/kes")

store=${3:-fs}

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cp -r "$suite" "$work/suite"
cd "$work"

admin=$("$kes" identity 2>/dev/null)
app=$("$kes" identity 2>/dev/null)
"$kes" identity new --key server.key --cert server.crt --ip 127.0.0.1 --dns localhost >/dev/null
port=$(( 20000 + RANDOM % 20000 ))
cat > config.yml <<EOF
version: v1
address: 127.0.0.1:$port
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
case $store in
fs)
    printf 'keystore:\n  fs:\n    path: keys\n' >> config.yml
    ;;
cluster)
    "$kes" cluster root-key new --out root.key >/dev/null
    cat >> config.yml <<EOF
cluster:
  name: node1
  path: data
  root_key:
    file: root.key
  members:
    node1: 127.0.0.1:7374
EOF
    ;;
*)
    echo "no such store: $store" >&2
    exit 2
    ;;
esac
"$kes" server --config config.yml >server.out 2>server.err &
server=$!
for _ in $(seq 100); do
    grep -q 'up and running' server.out && break
    kill -0 "$server" 2>/dev/null || { cat server.err >&2; exit 1; }
    sleep 0.1
done
cd suite
# shellcheck disable=SC2086
if ! go run . -server "https://127.0.0.1:$port" -admin-key "$admin" -app-key "$app" -policy app ${INTEROP_ARGS:-}; then
    echo "--- the server's errors" >&2
    tail -n 50 ../server.err >&2
    exit 1
fi
