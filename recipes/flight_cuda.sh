#!/usr/bin/env bash
# The flight model on an accelerator, in calls of a bounded time each: the same call again goes on where it stopped.
#
#   recipes/flight_cuda.sh RUN [SECONDS] [EDITION] [DEVICE]
#
# RUN: the folder of the run, which must be kept between calls. SECONDS: after so many it stops, 570 unless told.
# EDITION: tiny, small or large, the last unless told. DEVICE: cuda unless told.
# Of a finished run, or of one that was stopped, RUN/model is the newest model; OUT, if it is set, receives it, in files
# of at most 16 MiB, with its losses and its strips.
set -euo pipefail
run=$1 seconds=${2:-570} edition=${3:-large} device=${4:-cuda}
python=${PYTHON:-python}
status=0
timeout --signal=TERM --kill-after=20 "$seconds" "$python" -m longtake train-default "$run" \
    --world flight --edition "$edition" --device "$device" --bf16 || status=$?
case $status in
0) echo "finished" ;;
124 | 130 | 143) echo "stopped after $seconds s: the same call again goes on" ;;
*) exit "$status" ;;
esac
if [ -n "${OUT:-}" ] && [ -d "$run/model" ]; then
    tar -C "$run" -cf - model losses.jsonl losses.png $(cd "$run" && ls strips-*.png | tail -1) | split -b 16M - "$OUT/flight.tar."
fi
