#!/bin/bash
# On each of two machines: FIRST=<address of one of them> two_nodes.sh CONFIG [key=value ...]
exec torchrun --nnodes=2 --nproc-per-node="${PROCESSES:-gpu}" --rdzv-backend=c10d \
  --rdzv-endpoint="${FIRST:?address of the first machine}:${PORT:-29500}" --rdzv-id="${RUN_ID:-rl4bio}" \
  -m rl4bio fit "$@"
