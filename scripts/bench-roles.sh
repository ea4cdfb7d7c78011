#!/usr/bin/env bash
# CPU and memory of each role over a whole run of a plan: per thread its share of one core, and its waits (wake-ups) and
# preemptions per second; per role the sum including the start and ended threads, and the largest memory.
# usage: scripts/bench-roles.sh [plan=plans/smk.plan.toml] [program=target/release/b2b] [engine=native]
# Times are those of the scheduler. On a busy machine they grow by half, since caches are cold after every sleep, so the
# load average is printed with them. Limits of the project: 0.5 % and 20 MB a role, on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
plan=${1:-plans/smk.plan.toml} program=${2:-target/release/b2b} engine=${3:-native}
[ -x "$program" ] || { echo "no $program; build it first: cargo build --release"; exit 1; }
hz=$(getconf CLK_TCK)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$program" --role orchestrator --plan "$plan" --engine "$engine" >"$out/run.log" 2>&1 &
orchestrator=$!

# What is known about each child; the last poll before its end counts.
look() {
    local child role
    for child in $(cat /proc/$orchestrator/task/*/children 2>/dev/null); do
        role=$(tr '\0' '\n' 2>/dev/null <"/proc/$child/cmdline" | sed -n '/^--role$/{n;p}')
        [ -n "$role" ] || continue
        {
            cut -d' ' -f1 /proc/uptime | sed 's/^/uptime /'
            sed 's/.*) //' "/proc/$child/stat" | awk '{ print "stat", $12 + $13, $20 }'
            grep -E '^VmHWM' "/proc/$child/status"
            grep -H . /proc/$child/task/*/comm /proc/$child/task/*/schedstat
            grep -H ctxt_switches /proc/$child/task/*/status
        } >"$out/next" 2>/dev/null || continue
        mv "$out/next" "$out/$role"
    done
}
while kill -0 $orchestrator 2>/dev/null; do look; sleep 3; done
code=0
wait $orchestrator || code=$?

for role in source mixer sink; do
    [ -f "$out/$role" ] || continue
    awk -v role=$role -v hz="$hz" '
        { split($1, path, "/"); tid = path[5] + 0 }
        /^uptime/ { uptime = $2 }
        /^stat/ { total = $2 / hz; age = uptime - $3 / hz }
        /^VmHWM/ { memory = $2 / 1024 }
        /\/comm:/ { name[tid] = substr($0, index($0, ":") + 1) }
        /\/schedstat:/ { sub(/.*:/, "", $1); seconds[tid] = $1 / 1e9 }
        /:voluntary/ { waits[tid] = $2 }
        /:nonvoluntary/ { preempted[tid] = $2 }
        END {
            for (tid in seconds) {
                ended += seconds[tid]
                printf "%-7s %-13s %6.3f %%  %5.1f waits/s  %4.1f preempted/s\n", role, name[tid], \
                    seconds[tid] / age * 100, waits[tid] / age, preempted[tid] / age
            }
            printf "%-7s %-13s %6.3f %%\n", role, "(ended)", (total > ended ? total - ended : 0) / age * 100
            printf "%-7s %-13s %6.3f %%  of one core in %.0f s, largest memory %.1f MB\n", role, "ALL", \
                total / age * 100, age, memory
        }' "$out/$role" | sort -k3 -n
done
grep -E '^latency ' "$out/run.log" || true
echo "load average $(cut -d' ' -f1-3 /proc/loadavg), exit code $code"
exit $code
