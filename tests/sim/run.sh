#!/usr/bin/env bash
# Runs the simulation. tests/sim/run.sh lint | quick | run | full | ARGUMENTS OF rollcall-sim
#   lint   clippy over what only the simulation compiles
#   quick  the stories (bugs that seeds found once) and 10 seeds
#   run    the stories, 20 seeds twice with equal traces, 200 seeds, every sabotage noticed within 100 seeds
#   full   run, and 5,000 seeds
# It builds with tokio's seeded scheduler in a target directory of its own: with other flags than the rest, sharing one
# would rebuild everything at each change of sides.
set -euo pipefail
cd "$(dirname "$0")/../.."
jobs=${ROLLCALL_SIM_JOBS:-$(nproc)}
export CARGO_TARGET_DIR=${ROLLCALL_SIM_TARGET:-${ROLLCALL_CACHE:-$HOME/.cache/rollcall}/target-sim}
export RUSTFLAGS="--cfg tokio_unstable"
# The workspace's lints do not see this feature.
if [ "${1:-run}" = lint ]; then
    exec cargo clippy --locked --quiet --profile sim -p rollcall-server -p rollcall-sim --features sim --all-targets -- -D warnings
fi
cargo build --locked --quiet --profile sim -p rollcall-sim --features sim
sim=$CARGO_TARGET_DIR/sim/rollcall-sim

sabotages() {
    for name in skip_fsync leader_restore deposed_leader_answers renew_without_quorum apply_reads_clock; do
        "$sim" --seeds 0..100 --sabotage "$name" --jobs "$jobs"
    done
}

case "${1:-run}" in
quick)
    "$sim" --stories
    "$sim" --seeds 0..10 --jobs "$jobs"
    ;;
run | full)
    "$sim" --stories
    "$sim" --seeds 0..20 --replay --jobs "$jobs"
    sabotages
    "$sim" --seeds 20..220 --jobs "$jobs"
    if [ "$1" = full ]; then "$sim" --seeds 220..5220 --jobs "$jobs"; fi
    ;;
*) exec "$sim" "$@" ;;
esac
