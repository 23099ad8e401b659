#!/usr/bin/env bash
# Runs three members on 127.0.0.1 until Ctrl-C. Arguments go to every member:
# scripts/cluster.sh --groups 4. The data stays in cluster.witan, so that the
# next run goes on where this one stopped; `make clean` removes it.
set -euo pipefail
set -m # each member in a process group of its own: Ctrl-C comes here alone

cd "$(dirname "$0")/.."
data=cluster.witan
mkdir -p "$data"
pids=()

stop() {
  trap - EXIT INT TERM
  if ((${#pids[@]})); then
    echo "stopping"
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
  fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # name, client port, peer port, further flags
  local name=$1 client=http://127.0.0.1:$2 peer=http://127.0.0.1:$3
  shift 3
  bin/witan --name "$name" --data-dir "$data/$name" \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
    --initial-cluster infra1=http://127.0.0.1:2380,infra2=http://127.0.0.1:22380,infra3=http://127.0.0.1:32380 \
    "$@" 2>"$data/$name.log" &
  pids+=($!)
}

start infra1 2379 2380 "$@"
start infra2 22379 22380 "$@"
start infra3 32379 32380 "$@"

for name in infra1 infra2 infra3; do
  until grep -qs 'ready to serve client requests' "$data/$name.log"; do
    for pid in "${pids[@]}"; do
      if ! kill -0 "$pid" 2>/dev/null; then
        echo "a member has ended; the last lines of the logs:" >&2
        tail -n 3 "$data"/infra?.log >&2
        exit 1
      fi
    done
    sleep 0.1
  done
  grep -o 'ready to serve client requests on [^"]*' "$data/$name.log" | sed "s|^|$name is |; s|\$| (log: $data/$name.log)|"
done
echo "Ctrl-C stops them."
wait
