#!/usr/bin/env bash
# Installs, builds (warnings are errors) and runs every test, plain and under AddressSanitizer + UBSan.
#
#   scripts/test.sh          what CI runs
#   scripts/test.sh --slow   the suite "slow" as well
set -euo pipefail
cd "$(dirname "$0")/.."

slow=no
case "${1:-}" in
"") ;;
--slow) slow=yes ;;
*)
  echo "usage: scripts/test.sh [--slow]" >&2
  exit 2
  ;;
esac

setup_options=()
[ $slow = no ] || setup_options+=(--oracle)
scripts/setup.sh "${setup_options[@]}"

passed=0 failed=0 skipped=0 failures=""

# run_suite BUILD_DIR "MESON OPTIONS" TEST_ARGUMENTS...
run_suite() {
  local build=$1 options=$2
  shift 2
  # shellcheck disable=SC2086
  if [ -f "$build/build.ninja" ]; then
    meson setup --reconfigure "$build" -Dwerror=true $options >/dev/null
  else
    meson setup "$build" -Dwerror=true $options >/dev/null
  fi
  meson compile -C "$build"
  local log
  log=$(mktemp)
  local status=0
  meson test -C "$build" --no-rebuild --print-errorlogs "$@" 2>&1 | tee "$log" || status=$?
  count() { sed -n "s/^$1: *\([0-9]*\).*/\1/p" "$log" | tail -n 1; }
  passed=$((passed + $(count Ok || echo 0) + 0))
  failed=$((failed + $(count Fail) + $(count Timeout)))
  skipped=$((skipped + $(count Skipped)))
  [ $status = 0 ] || failures+=$(python3 -B scripts/failed_tests.py "$build")$'\n'
  rm -f "$log"
  return $status
}

result=0
run_suite build "" --no-suite slow || result=1
# Plots and the text of the sources are the same in both builds; whole recordings, conformance runs and emulators take long with sanitizers.
run_suite build-asan "-Db_sanitize=address,undefined -Db_lundef=false" --no-suite slow --no-suite plots --no-suite lint --no-suite recorded --no-suite check --no-suite oracle || result=1
if [ $slow = yes ]; then
  run_suite build "" --suite slow --timeout-multiplier 10 || result=1
fi

# Once more at the end: the log of the first build is long gone up when the second one ends.
[ -z "$failures" ] || printf '\n%s' "$failures"
echo
echo "$passed passed, $failed failed, $skipped skipped"
exit $result
