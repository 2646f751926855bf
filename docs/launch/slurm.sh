#!/bin/bash
#SBATCH --job-name=rl4bio
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --signal=TERM@120
# sbatch slurm.sh CONFIG [key=value ...]; for two machines: sbatch --nodes=2 slurm.sh ...
# One task a card, whether each sees its own card or all. SIGTERM saves the run; --resume goes on.
exec srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-8}" rl4bio fit "$@"
