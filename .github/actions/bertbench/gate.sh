#!/usr/bin/env bash
# Runs `bertbench check` with the action's inputs, which come as environment variables, so that no input is run as a command.
set -uo pipefail

options=(--models "$MODELS" --junit "$JUNIT" --output "$COMMENT_FILE")
if [ -n "$AGAINST_MODEL" ]; then options+=(--against-model "$AGAINST_MODEL"); else options+=(--baseline "$BASELINE"); fi
[ -z "$SUITE" ] || options+=(--suite "$SUITE")
[ -z "$ONLY" ] || options+=(--only "$ONLY")
[ -z "$MAX_MINUTES" ] || options+=(--max-minutes "$MAX_MINUTES")
[ -z "$ARGUMENTS" ] || read -r -a more <<<"$ARGUMENTS"

"${PYTHON:-${RUNNER_TEMP:-}/bertbench/bin/python}" -m bertbench check "${options[@]}" ${more[@]+"${more[@]}"}
code=$?
[ -z "${GITHUB_OUTPUT:-}" ] || echo "exit-code=$code" >>"$GITHUB_OUTPUT"
if [ "$code" -eq 3 ] && [ "$ALLOW_INCONCLUSIVE" = true ]; then exit 0; fi
exit "$code"
