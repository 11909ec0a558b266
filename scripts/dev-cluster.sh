#!/usr/bin/env bash
# Three nodes on this machine, as one cluster: scripts/dev-cluster.sh [FOLDER]
#
# Keeps everything in FOLDER (default target/dev-cluster), so that a second run goes on with the same
# cluster. Stops the nodes at Ctrl-C. Takes the binary from the variable KES, or builds it.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-${CARGO_TARGET_DIR:-target}/dev-cluster}
if [ -z "${KES:-}" ]; then
    cargo build --release --locked --bin kes
    KES=${CARGO_TARGET_DIR:-target}/release/kes
fi
kes=$(realpath "$KES")
umask 077
mkdir -p "$folder"
cd "$folder"

first=${DEV_CLUSTER_PORT:-7373} # node N: API at first + 10 (N - 1), the other nodes at the port after it
[ -f root.key ] || "$kes" cluster root-key new --out root.key >/dev/null
[ -f server.key ] || "$kes" identity new --key server.key --cert server.crt --ip 127.0.0.1 --dns localhost >/dev/null
[ -f admin-apikey.txt ] || "$kes" identity >admin-apikey.txt
admin=$(cat admin-apikey.txt)

port() { echo $((first + 10 * ($1 - 1) + $2)); }
for node in 1 2 3; do
    cat >"node$node.yml" <<EOF
version: v1
address: 127.0.0.1:$(port "$node" 0)
admin:
  identity: $("$kes" identity of "$admin")
tls:
  key: server.key
  cert: server.crt
cluster:
  name: node$node
  address: 127.0.0.1:$(port "$node" 1)
  api: https://127.0.0.1:$(port "$node" 0)
  path: data$node
  root_key:
    file: root.key
  members:
    node1: 127.0.0.1:$(port 1 1)
    node2: 127.0.0.1:$(port 2 1)
    node3: 127.0.0.1:$(port 3 1)
EOF
done

pids=()
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true; wait' EXIT
for node in 1 2 3; do
    "$kes" server --config "node$node.yml" >"node$node.out" 2>"node$node.err" &
    pids+=($!)
done

export KES_API_KEY=$admin SSL_CERT_FILE=$PWD/server.crt
for node in 1 2 3; do
    for attempt in $(seq 300); do
        "$kes" cluster status -s "https://127.0.0.1:$(port "$node" 0)" 2>/dev/null | grep -q healthy && break
        [ "$attempt" -lt 300 ] || { cat "node$node.err" >&2; exit 1; }
        kill -0 "${pids[$((node - 1))]}" 2>/dev/null || { cat "node$node.err" >&2; exit 1; }
        sleep 0.1
    done
done

cat <<EOF

Three nodes are one cluster. In another terminal:

    export PATH="$(dirname "$kes"):\$PATH"
    export KES_SERVER=https://127.0.0.1:$(port 1 0),https://127.0.0.1:$(port 2 0),https://127.0.0.1:$(port 3 0)
    export KES_API_KEY=\$(cat $PWD/admin-apikey.txt) SSL_CERT_FILE=$PWD/server.crt

    kes cluster status
    kes key create my-key
    kes key dek my-key

Kill a node and see that nothing changes; start it again:

    kill -9 ${pids[0]}
    (cd $PWD && kes server --config node1.yml)

Their logs are $PWD/node*.err. Ctrl-C stops all.
EOF
wait
