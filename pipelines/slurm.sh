#!/usr/bin/env bash
# A recipe, or one command of maskx, as a job of SLURM on one machine or on several:
#   sbatch [--nodes N] [--gpus-per-node G] pipelines/slurm.sh pipelines/table1a.sh [PROJECT_FOLDER]
#   sbatch [--nodes N] [--gpus-per-node G] pipelines/slurm.sh detect train [OPTION...]
# The machines share the disk with project and data. Each stage is one `torchrun` on each machine. A job that is preempted, or whose
# time is over in two minutes, is put back into the queue, and every stage goes on from what it saved.
#SBATCH --job-name=maskx
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail
if [ $# -eq 0 ]; then
  echo "Give a recipe or a command of maskx: sbatch slurm.sh detect train" >&2
  exit 2
fi
maskx=${MASKX:-maskx}
if ! type -P "$maskx" >/dev/null; then
  echo "$maskx is not found: give the command as MASKX, with its path." >&2
  exit 1
fi
torchrun=$(dirname "$(type -P "$maskx")")/torchrun
nodes=${SLURM_JOB_NUM_NODES:-1}
gpus=${SLURM_GPUS_ON_NODE:-${GPUS:-1}}
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one machine do not meet
LAUNCH="srun --nodes=$nodes --ntasks=$nodes --ntasks-per-node=1 $torchrun --nnodes $nodes --nproc-per-node $gpus"
LAUNCH+=" --rdzv-backend c10d --rdzv-endpoint $head:$port --rdzv-id $SLURM_JOB_ID"
export LAUNCH

over=no
end() { # the steps get SIGTERM and save; the job goes on when its turn comes again
  over=yes
  scancel --signal=TERM "$SLURM_JOB_ID" || exit 143 # it was cancelled, and SLURM ends its steps itself
}
trap end USR1 TERM

case $1 in
  *.sh) bash "$@" & ;;
  *)
    read -ra launch <<<"$LAUNCH"
    "${launch[@]}" -m maskx_pipeline "$@" &
    ;;
esac
code=0
wait $! || code=$?
if [ "$over" = yes ]; then
  wait || true # what was told to end is ending
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
