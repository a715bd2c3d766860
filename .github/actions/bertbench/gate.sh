#!/usr/bin/env bash
# Runs `bertbench check` with the action's inputs, which come as environment variables, so that no input is run as a command.
set -uo pipefail

python="${PYTHON:-${RUNNER_TEMP:-}/bertbench/bin/python}"
options=(--models "$MODELS")
[ -z "$JUNIT" ] || options+=(--junit "$JUNIT")
[ -z "$COMMENT_FILE" ] || options+=(--output "$COMMENT_FILE")
if [ -n "$AGAINST_MODEL" ]; then options+=(--against-model "$AGAINST_MODEL"); else options+=(--baseline "$BASELINE"); fi
[ -z "$SUITE" ] || options+=(--suite "$SUITE")
[ -z "$ONLY" ] || options+=(--only "$ONLY")
[ -z "$MAX_MINUTES" ] || options+=(--max-minutes "$MAX_MINUTES")
[ -z "${POLICY:-}" ] || options+=(--policy "$POLICY")
[ -z "${BENCHER:-}" ] || options+=(--bencher "$BENCHER")
# Words as on a command line, quotes and line ends included.
words="$(ARGUMENTS="$ARGUMENTS" "$python" -c 'import os, shlex; print(*shlex.split(os.environ["ARGUMENTS"]), sep="\n")')" ||
  { echo "::error::arguments: cannot be split into words; a quote is left open"; exit 2; }
while IFS= read -r word; do [ -z "$word" ] || options+=("$word"); done <<<"$words"

"$python" -m bertbench check "${options[@]}"
code=$?
[ -z "${GITHUB_OUTPUT:-}" ] || echo "exit-code=$code" >>"$GITHUB_OUTPUT"
if [ "$code" -eq 3 ] && [ "$ALLOW_INCONCLUSIVE" = true ]; then exit 0; fi
exit "$code"
