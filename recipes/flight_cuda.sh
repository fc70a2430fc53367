#!/usr/bin/env bash
# The flight model on an accelerator, in calls of a bounded time each: the same call again goes on where it stopped.
#
#   recipes/flight_cuda.sh RUN [SECONDS] [EDITION] [DEVICE] [STEPS]
#
# RUN: the folder of the run, which must be kept between calls. An autoencoder in RUN/autoencoder is not trained again;
# a model in RUN/start is what it begins as.
# SECONDS: after so many it stops, 570 unless told. EDITION: tiny, small or large, the last unless told.
# DEVICE: cuda unless told. STEPS: of the transformer, the edition's unless told; later calls may change it.
# RUN/model is the newest model, RUN/few/model, once it is there, films in half its steps. OUT, if it is set, receives the
# latter of them, in files of at most 16 MiB, with losses and strips.
set -euo pipefail
run=$1 seconds=${2:-570} edition=${3:-large} device=${4:-cuda}
python=${PYTHON:-python}
status=0
timeout --signal=TERM --kill-after=20 "$seconds" "$python" -m longtake train-default "$run" --world flight \
    --edition "$edition" --device "$device" --bf16 $([ "$device" = cpu ] || echo --compile) ${5:+--steps "$5"} || status=$?
case $status in
0) echo "finished" ;;
124 | 130 | 143) echo "stopped after $seconds s: the same call again goes on" ;;
*) exit "$status" ;;
esac
newest=$(ls -d "$run/few/model" "$run/model" 2>/dev/null | head -1)
if [ -n "${OUT:-}" ] && [ -n "$newest" ]; then
    tar -C "$newest/.." -cf - model losses.jsonl losses.png $(cd "$newest/.." && ls strips* | tail -1) | split -b 16M - "$OUT/flight.tar."
fi
