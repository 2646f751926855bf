#!/bin/bash
# All cards of one machine: one_node.sh CONFIG [key=value ...]; PROCESSES=2 takes two of them.
exec torchrun --standalone --nproc-per-node="${PROCESSES:-gpu}" -m rl4bio fit "$@"
