#!/usr/bin/env bash
# Takes the profile of a server under load that the compiler optimises witan
# for (make build): 8 s each of PUT, GET and quorum GET over 64 connections.
# It need not be taken often: what has moved in the code since is just not optimised.
set -euo pipefail

cd "$(dirname "$0")/.."
out=${1:?where to write the profile}
work=$(mktemp -d /tmp/witan-profile.XXXXXX)
trap 'rm -rf "$work"' EXIT
seam=127.0.0.1:21987

# The profile says where the program was, so that should be nobody's directory.
cp bin/witan-torture "$work/server"

# The benchmark starts this for the server.
cat > "$work/witan" <<EOF
#!/bin/sh
TORTURE_LISTEN=$seam exec $work/server "\$@"
EOF
chmod +x "$work/witan"

for load in put get quorum-get; do
  bin/bench --servers witan --binary "$work/witan" --workloads "$load" --connections 64 --members 1 --groups 1 \
    --value-size 64 --rounds 1 --duration 12s > "$work/bench" &
  bench=$!
  profile="http://$seam/profile?seconds=8"
  until curl -sf --max-time 20 -o "$work/$load" "$profile"; do
    kill -0 "$bench" 2>/dev/null || { echo "the benchmark has ended" >&2; exit 1; }
    sleep 0.2
  done
  wait "$bench"
done
go tool pprof -proto "$work/put" "$work/get" "$work/quorum-get" > "$out"
