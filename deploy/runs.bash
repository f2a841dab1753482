# The runs of deploy/quickstart: each has a directory, named after its process, below the cache. A run that was killed
# is cleaned up by the next one; one that failed stays for reading; one with the file `kept` still works.
# shellcheck shell=bash
# shellcheck disable=SC2154 # cache comes from machine.bash

runs="$cache/quickstart"
# Of failed runs, the newest so many stay.
failed_kept=3
run='' child='' gently=''

# Waits without a process, so that an interrupt ends it at once and leaves none behind.
exec {idle}<> <(:)
pause() { read -rt "$1" -u "$idle" || true; }

begin_run() {
  sweep_runs
  run="$runs/$$"
  mkdir -p "$run"
  # However it ends; what failed stays for reading. hand_over leaves without this.
  trap '[[ -e $run/failed ]] || rm -rf "$run"' EXIT
  trap 'stop 130' INT
  trap 'stop 143' TERM
  trap 'stop 129' HUP
}

# Ends the child with all of its process group, removes the run's directory, and exits.
stop() {
  trap '' INT TERM HUP
  printf '\nStopping\n'
  if [[ $child ]]; then
    if [[ $gently ]]; then
      printf 'dpkg finishes the packages that it has in its hands\n'
      # apt-get alone: it starts nothing new, and dpkg finishes what it has in its hands.
      kill -INT "$child" 2>/dev/null || true
      wait "$child" || true
    else
      kill -TERM -- "-$child" 2>/dev/null || true
      group_ends_within 50 "$child" || kill -KILL -- "-$child" 2>/dev/null || true
      wait "$child" || true
    fi
  fi
  exit "$1"
}

# In tenths of a second.
group_ends_within() {
  local tenths=$1
  while ((tenths-- > 0)); do
    group_lives "$2" || return 0
    pause 0.1
  done
  return 1
}

# Zombies do not count, so not kill -0. proc(5): after the name in parentheses come state, parent and process group.
group_lives() {
  local file line state group
  for file in /proc/[0-9]*/stat; do
    { read -r line <"$file"; } 2>/dev/null || continue
    read -r state _ group _ <<<"${line##*) }"
    if [[ $group == "$1" && $state != Z ]]; then return 0; fi
  done
  return 1
}

# run_logged TITLE LOG COMMAND…: with the output in a log of the run, and a line now and then that says how far it is.
run_logged() {
  local title=$1 log="$run/$2" begin=$SECONDS told=$SECONDS status=0
  shift 2
  printf '%s\n' "$title"
  # A process group of its own: Ctrl-C reaches this script alone, which ends the group in order.
  set -m
  "$@" </dev/null >"$log" 2>&1 {idle}>&- &
  child=$!
  set +m
  while kill -0 "$child" 2>/dev/null; do
    pause 0.2
    if [[ -t 1 ]] && ((SECONDS > told)); then
      printf '\r\033[K  %s' "$(last_line "$log")"
      told=$SECONDS
    elif ((SECONDS >= told + 10)); then
      printf '  %s (%d s)\n' "$(last_line "$log")" $((SECONDS - begin))
      told=$SECONDS
    fi
  done
  wait "$child" || status=$?
  child=''
  if [[ -t 1 ]]; then printf '\r\033[K'; fi
  if ((status)); then
    printf '%s failed (exit status %d). The last lines of its log %s:\n' "$title" "$status" "$log" >&2
    lines "$log" | tail -n 20 | sed 's/^/    /' >&2
    touch "$run/failed"
    exit "$status"
  fi
  if ((SECONDS - begin > 1)); then printf '  done in %d s\n' $((SECONDS - begin)); fi
}

# A log's lines without what moves a terminal's cursor; each state of a progress bar is a line.
lines() { tr '\r' '\n' <"$1" | sed 's/\x1b\[[0-9;]*[A-Za-z]//g; /^[[:space:]]*$/d'; }

last_line() { tail -c 2000 "$1" | lines /dev/stdin | tail -n 1 | sed 's/^ *//' | cut -c 1-100; }

# Becomes the program, in the same process; this script's traps end with it.
hand_over() {
  exec {idle}>&-
  exec "$@"
}

# The processes that a run started: their command line names a file in its directory.
processes_of() {
  local at args arg exe
  for at in /proc/[0-9]*; do
    exe=$(readlink "$at/exe") || continue
    [[ ${exe##*/} == java || ${exe##*/} == copyist* ]] || continue
    mapfile -d '' -t args <"$at/cmdline" || continue
    for arg in "${args[@]}"; do
      if [[ $arg == "$1/"* ]]; then
        printf '%s\n' "${at#/proc/}"
        break
      fi
    done
  done 2>/dev/null
}

# Whether the quickstart of a run's directory still works: then its files are its own business.
is_in_progress() {
  local args
  { mapfile -d '' -t args <"/proc/${1##*/}/cmdline"; } 2>/dev/null || return 1
  [[ ${args[*]} == *quickstart* ]]
}

remove_run() {
  local pids
  mapfile -t pids < <(processes_of "$1")
  if ((${#pids[@]})); then
    printf 'Stopping %d processes of %s\n' "${#pids[@]}" "$1"
    kill -TERM "${pids[@]}" 2>/dev/null || true
    end_within 200 "${pids[@]}" || kill -KILL "${pids[@]}" 2>/dev/null || true
  fi
  rm -rf "$1"
}

# In tenths of a second.
end_within() {
  local tenths=$1
  shift
  while ((tenths-- > 0)); do
    # At least one that is there makes kill succeed only when all are; so each is asked for.
    local pid any=''
    for pid; do
      if kill -0 "$pid" 2>/dev/null; then any=yes; fi
    done
    [[ $any ]] || return 0
    pause 0.1
  done
  return 1
}

all_runs() { find "$runs" -mindepth 1 -maxdepth 1 -type d 2>/dev/null; }

# What killed runs left, and what kept ones left when the machine was started anew.
sweep_runs() {
  local dir failed=()
  while read -r dir; do
    if is_in_progress "$dir"; then continue; fi
    if [[ -e $dir/failed ]]; then
      failed+=("$dir")
    elif ! [[ -e $dir/kept && $(processes_of "$dir") ]]; then
      remove_run "$dir"
    fi
  done < <(all_runs)
  if ((${#failed[@]} > failed_kept)); then
    # shellcheck disable=SC2012 # the names are numbers
    ls -td "${failed[@]}" | tail -n "+$((failed_kept + 1))" | while read -r dir; do remove_run "$dir"; done
  fi
}

clean_runs() {
  local dir size removed=0
  while read -r dir; do
    if is_in_progress "$dir"; then
      printf 'The quickstart with process id %s is still at work: left alone\n' "${dir##*/}"
      continue
    fi
    size=$(du -sh "$dir" | cut -f 1)
    remove_run "$dir"
    printf 'Removed %s (%s)\n' "$dir" "$size"
    removed=$((removed + 1))
  done < <(all_runs)
  if ((removed == 0)); then printf 'Nothing was left to stop or to remove.\n'; fi
  if [[ -d $cache ]]; then
    printf 'Kafka and the compiled tools stay in %s (%s) for the next run; rm -rf it to be rid of them.\n' \
      "$cache" "$(du -sh "$cache" | cut -f 1)"
  fi
  printf 'The build stays in the target directory; cargo clean removes it.\n'
}
