#!/usr/bin/env bash
# Training under Slurm, one task per GPU; the arguments are those of `recog train`:
#   sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 deploy/slurm.sh --config experiments/crnn.py:modern --workdir runs/modern
# Five minutes before the time limit, and when it is pre-empted, the run saves its step and is queued again.
#SBATCH --job-name=recog
#SBATCH --requeue
#SBATCH --signal=USR1@300
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
srun --kill-on-bad-exit=1 "${RECOG:-.venv/bin/recog}" train --cluster "$@"
status=$?
workdir=$(printf '%s\n' "$@" | sed -n '/^--workdir$/{n;p}; s/^--workdir=//p')
# The file `stopped` exists if a signal ended the run before its recipe was done.
if [ "$status" -eq 0 ] && [ -e "$workdir/stopped" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
