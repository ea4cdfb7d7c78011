#!/usr/bin/env bash
# Public libraries, unmodified, as voice agents: each in a bot of tests/agents whose services make sounds and count, called
# by `b2b sandbox`; and streamdouble, which plays Twilio's side, with the same bots. Prints one line a library: ok, red,
# or not tried, and why. The exit code is 1 if one is red.
# usage: scripts/agents.sh [--binary B2B] [NAME…]
# B2B_BINARY (target/debug/b2b), B2B_AGENTS (target/agents): the program, and the folder for libraries and reports.
# Needs python3 from 3.11 with venv, node with npm, espeak-ng. The libraries come from PyPI and npm, at the versions below;
# then nothing but loopback is reached: where a network namespace can be had, there is no other network.
set -euo pipefail
cd "$(dirname "$0")/.."
phase=${AGENTS_PHASE:-install}
[ "${1:-}" != --binary ] || { B2B_BINARY=$2; shift 2; }
B2B_BINARY=$(realpath -e "${B2B_BINARY:-target/debug/b2b}") || exit 64
mkdir -p "${B2B_AGENTS:=target/agents}"
B2B_AGENTS=$(realpath "$B2B_AGENTS")
export B2B_BINARY B2B_AGENTS PATH="$B2B_AGENTS/venv/bin:$PATH" OPENAI_AGENTS_DISABLE_TRACING=1
export PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore::DeprecationWarning
wanted=" $* "
red=0

say() { # VERDICT NAME WHAT
    printf '%-9s %-15s %s\n' "$@"
    [ "$1" != red ] || red=1
}

# Whether a library's turn is now: in the first pass it is installed, Python packages with == and those of npm with @.
library() { # NAME PACKAGE…
    local name=$1 package log=$B2B_AGENTS/$1.install
    shift
    [ "$wanted" = "  " ] || [[ $wanted = *" $name "* ]] || return 1
    [ "$phase" = install ] || { [ -e "$log.done" ]; return; }
    rm -f "$log.done"
    for package; do
        case $package in
            *==*) python -m pip install -q --disable-pip-version-check "$package" 'audioop-lts; python_version >= "3.13"' ;;
            *) npm install --prefix "$B2B_AGENTS" --no-audit --no-fund "$package" ;;
        esac >"$log" 2>&1 || { say "not tried" "$name" "$package: $(tail -1 "$log")"; return 1; }
    done
    touch "$log.done"
    return 1
}

port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Calls a bot: the callers of a plan, and [agent] from stdin.
sandbox() { # NAME CALLERS VERSION
    local name=$1 callers=$2 counts
    { cat "$callers"; echo; echo "[agent]"; cat; } >"$name.toml"
    if ! "$B2B_BINARY" sandbox "$name.toml" --report "$name" >"$name.log" 2>&1; then
        say red "$name" "$3: $(grep -m1 ': `' "$name.log" || tail -1 "$name.log")"
    elif counts=$(grep -m1 "the first of its kind" "$name/server.log"); then
        say red "$name" "$3: a mistake to b2b: ${counts#*agent: }"
    elif [ "$callers" != callers.toml ]; then
        say ok "$name" "$3"
    elif counts=$(python services.py "$name/agent.log" 6); then
        say ok "$name" "$3: $counts"
    else
        say red "$name" "$3: ${counts//$'\n'/; }"
    fi
}

if [ "$phase" = install ]; then
    [ -e "$B2B_AGENTS/venv" ] || python3 -m venv "$B2B_AGENTS/venv"
    cp tests/agents/* examples/python/*.py examples/node/*.mjs "$B2B_AGENTS"
fi
cd "$B2B_AGENTS"

for protocol in twilio b2b; do
    library "pipecat-$protocol" 'pipecat-ai[websocket]==1.14.0' uvicorn==0.54.0 || continue
    at=$(port)
    sandbox "pipecat-$protocol" callers.toml 'pipecat-ai 1.14.0' <<END
protocol = "$protocol"
url = "ws://127.0.0.1:$at/"
start_s = 60
command = ["python", "pipecat_bot.py", "$protocol", "$at"]
END
done

if library openai-python openai-agents==0.24.0 websockets==16.1.1; then
    at=$(port) realtime=$(port)
    sandbox openai-python callers.toml 'openai-agents 0.24.0' <<END
protocol = "twilio"
url = "ws://127.0.0.1:$at/"
start_s = 60
command = ["sh", "-c", "python realtime.py $realtime & exec python openai_bot.py $at $realtime"]
END
fi

if library openai-b2b websockets==16.1.1; then
    at=$(port) realtime=$(port)
    sandbox openai-b2b callers.toml 'examples/python/openai_realtime.py' <<END
encoding = "PCMU"
url = "ws://127.0.0.1:$at/"
command = ["sh", "-c", "python realtime.py $realtime & REALTIME_URL=ws://127.0.0.1:$realtime/ exec python openai_realtime.py $at"]
END
fi

if library openai-node @openai/agents@0.20.0 @openai/agents-extensions@0.18.0 zod@4.6.7 ws@8.23.0; then
    at=$(port) realtime=$(port)
    sandbox openai-node callers.toml '@openai/agents-extensions 0.18.0' <<END
protocol = "twilio"
url = "ws://127.0.0.1:$at/"
start_s = 60
command = ["sh", "-c", "python realtime.py $realtime & exec node openai_bot.mjs $at $realtime"]
END
fi

if library galcymedia galcymedia==0.1.1 websockets==16.1.1; then
    at=$(port)
    sandbox galcymedia callers.toml 'galcymedia 0.1.1' <<END
protocol = "chan_websocket"
control_message_format = "json"
encoding = "PCMU"
url = "ws://127.0.0.1:$at/"
command = ["python", "galcymedia_bot.py", "$at"]
END
fi

# It registers, and answers only the server that it is registered with.
if library pyvoip pyVoIP==1.6.8; then
    server=$(port) at=$(port)
    cat >pyvoip-server.toml <<END
[server]
listen = ["udp:127.0.0.1:$server"]
store = "memory"
cdr = "pyvoip.cdr"
trusted = ["127.0.0.0/8"]

[[user]]
name = "bot"
password = "correct-horse-1"

[[route]]
to = "user/bot"
END
    mkdir -p pyvoip
    "$B2B_BINARY" b2bua --config pyvoip-server.toml >pyvoip-server.log 2>&1 & between=$!
    timeout -s KILL 300 python pyvoip_bot.py "$server" "$at" >pyvoip/agent.log 2>&1 & bot=$!
    for _ in {1..100}; do grep -q REGISTERED pyvoip/agent.log && break; sleep 0.2; done
    sandbox pyvoip callers.toml 'pyVoIP 1.6.8' <<<"sip = \"sip:bot@127.0.0.1:$server\""
    kill $bot $between
    wait $bot $between || true
fi

# Twilio's side by streamdouble: its calls to the bots, and whether its messages to one program are those of b2b.
double() { # PORT LOG COMMAND…, then -- and the arguments of streamdouble
    local at=$1 log=$2 bot code=0 command=()
    shift 2
    while [ "$1" != -- ]; do command+=("$1"); shift; done
    timeout -s KILL 120 "${command[@]}" >"$log.bot" 2>&1 & bot=$!
    for _ in {1..300}; do (: <"/dev/tcp/127.0.0.1/$at") 2>/dev/null && break; sleep 0.2; done
    streamdouble "${@:2}" "ws://127.0.0.1:$at/" >"$log" 2>&1 || code=$?
    kill $bot 2>/dev/null || true
    wait $bot || true
    return $code
}

if library streamdouble streamdouble==0.3.0 websockets==16.1.1 'pipecat-ai[websocket]==1.14.0' openai-agents==0.24.0; then
    espeak-ng -w question.wav "Please tell me all about your opening hours."
    espeak-ng -w stop.wav "Stop please, that is enough."
    mkdir -p streamdouble
    at=$(port) realtime=$(port) failed=""
    double "$at" streamdouble/example python media_streams.py "$at" -- call --audio question.wav --max-drain 3 || failed+=" media_streams.py"
    double "$at" streamdouble/pipecat python pipecat_bot.py twilio "$at" -- scenario talk.yaml || failed+=" pipecat_bot.py"
    double "$at" streamdouble/openai sh -c "python realtime.py $realtime & exec python openai_bot.py $at $realtime" \
        -- scenario talk.yaml || failed+=" openai_bot.py"
    double "$at" streamdouble/shape python shape.py "$at" theirs.shape -- scenario shape.yaml || failed+=" shape.py"
    { cat shape.toml; printf '[agent]\nprotocol = "twilio"\nurl = "ws://127.0.0.1:%s/"\n' "$at"
      echo "command = [\"python\", \"shape.py\", \"$at\", \"ours.shape\"]"; } >shape-call.toml
    "$B2B_BINARY" sandbox shape-call.toml --report streamdouble >streamdouble.log 2>&1 || failed+=" b2b"
    python shape.py ours.shape theirs.shape >streamdouble/differences || failed+=" differences"
    if [ -z "$failed" ] && diff -q shape.differences streamdouble/differences >&2; then
        say ok streamdouble "streamdouble 0.3.0: 4 calls, known differences from b2b: $(wc -l <shape.differences)"
    else
        say red streamdouble "streamdouble 0.3.0:${failed:- other differences than in shape.differences}"
    fi
fi

if library node-example ws@8.23.0; then
    at=$(port)
    sandbox node-example echo.toml 'ws 8.23.0' <<END
url = "ws://127.0.0.1:$at/"
command = ["node", "voice_agent.mjs", "$at"]
END
fi

if [ "$phase" = install ]; then
    cd "$OLDPWD"
    alone=()
    if unshare -rn ip link set lo up 2>/dev/null; then alone=(unshare -rn sh -c 'ip link set lo up && exec "$@"' sh); fi
    AGENTS_PHASE=run "${alone[@]}" bash scripts/agents.sh "$@" || red=1
fi
exit $red
