#!/bin/sh
# Measures a relay on real cards with the kernel's pktgen: throughput by RFC 2544 26.1, the highest rate at
# which no more than an allowed part of the packets is lost. README.md beside this file says how to use it.
set -eu

here=$(dirname "$0")
# shellcheck source=bench/pktgen/settings.sh
. "$here/settings.sh"
# shellcheck source=bench/pktgen/generator.sh
. "$here/generator.sh"

# New peers a second while the relay gets to know them, and how long that may take.
ESTABLISH_RATE=50000
ESTABLISH_SECONDS=300
# Part of the peers, in percent, that must be there before a search begins. The last ones are drawn rarely.
ESTABLISHED_PERCENT=99
# How long packets on their way may take to arrive, in tenths of a second without any.
SETTLE_TENTHS=5
SETTLE_TENTHS_MAX=100
# A generator that is so much slower than asked (percent) has reached its own limit.
OFFERED_PERCENT=98

# Sets CARRIED (packets the relay sent on in this direction), BUBBLES (sent by it) and TRUSTED (peers).
ask_relay() {
    status=$($STATUS | tr -d ' \n') || die "-q \"$STATUS\": failed; it must print the status of the relay as JSON"
    direction=$1
    counts='{"packets":\([0-9]*\),"bytes":[0-9]*}'
    CARRIED=$(echo "$status" | sed -n "s/.*\"$direction\":{\"fast\":$counts,\"slow\":$counts.*/\1 + \2/p")
    BUBBLES=$(echo "$status" | sed -n 's/.*"bubbles_sent":\([0-9]*\).*/\1/p')
    TRUSTED=$(echo "$status" | sed -n 's/.*"peers":{"fresh":\([0-9]*\),"stale":\([0-9]*\).*/\1 + \2/p')
    { [ -n "$CARRIED" ] && [ -n "$BUBBLES" ] && [ -n "$TRUSTED" ]; } ||
        die "-q \"$STATUS\": that is not the status of a relay (the output of: shipworm status --json)"
    # shellcheck disable=SC2004 # Sums, not names of numbers.
    CARRIED=$(($CARRIED)) TRUSTED=$(($TRUSTED))
}

# statistic NAME COUNTER
statistic() { cat "/sys/class/net/$1/statistics/$2"; }

# Waits until what is on its way has arrived.
settle() {
    still=0 tenths=0 last=$(statistic "$1" rx_packets)
    while [ $still -lt $SETTLE_TENTHS ] && [ $tenths -lt $SETTLE_TENTHS_MAX ]; do
        sleep 0.1
        now=$(statistic "$1" rx_packets)
        if [ "$now" -eq "$last" ]; then still=$((still + 1)); else still=0; fi
        last=$now tenths=$((tenths + 1))
    done
}

# trial PPS: sends and counts. Sets SENT, OFFERED, LOST.
trial() {
    ask_relay "$DIRECTION"
    carried=$CARRIED bubbles=$BUBBLES
    received=$(statistic "$RECEIVER" rx_packets)
    missed=$(statistic "$RECEIVER" rx_missed_errors)
    send "$1" "$SECONDS_A_TRIAL"
    settle "$RECEIVER"
    ask_relay "$DIRECTION"
    missed=$(($(statistic "$RECEIVER" rx_missed_errors) - missed))
    [ $missed -eq 0 ] ||
        die "$RECEIVER: this host lost $missed packets on receipt, so the relay's loss cannot be known (give it more queues, longer rings: ethtool -L, -G)"
    received=$(($(statistic "$RECEIVER" rx_packets) - received))
    # Bubbles leave on the IPv4 side, beside the packets.
    [ "$JOB" = decap ] || received=$((received - (BUBBLES - bubbles)))
    carried=$((CARRIED - carried))
    # The cards count what arrived, a neighbour's question included; the relay counts its packets exactly. Who
    # saw less is right.
    arrived=$received
    [ $carried -ge $arrived ] || arrived=$carried
    LOST=$((SENT - arrived))
    [ $LOST -ge 0 ] || LOST=0
    echo "trial direction=$JOB asked=$1 offered=$OFFERED sent=$SENT received=$received carried=$carried lost=$LOST"
}

# within LOSS: whether the last trial lost no more than so many percent.
within() { awk -v lost="$LOST" -v sent="$SENT" -v most="$1" 'BEGIN { exit !(lost * 100 <= most * sent) }'; }

# search LOSS FROM: binary search between a rate that is held and one that is not.
search() {
    low=$2 high=$RATE_MAX rate=$RATE_MAX limit=asked
    step=$((RATE_MAX * RESOLUTION / 1000))
    [ $step -gt 0 ] || step=1
    while :; do
        trial "$rate"
        if [ $((OFFERED * 100)) -lt $((rate * OFFERED_PERCENT)) ]; then
            limit=generator high=$rate
            # What it did send is a rate as good as another.
            if within "$1" && [ "$OFFERED" -gt "$low" ]; then low=$OFFERED; fi
        elif within "$1"; then
            low=$rate
        else
            limit=relay high=$rate
        fi
        [ $((high - low)) -gt $step ] || break
        rate=$(((low + high) / 2))
    done
    THROUGHPUT=$low
    echo "result direction=$JOB peers=$PEERS inner_bytes=$LENGTH loss_percent=$1 throughput_pps=$low limit=$limit"
}

establish() {
    DIRECTION=encapsulated
    generator_up "$NATIVE_NAME" "$NATIVE_MAC"
    frames_of encap
    rate=$RATE_MAX
    [ "$rate" -le $ESTABLISH_RATE ] || rate=$ESTABLISH_RATE
    seconds=0
    while ask_relay "$DIRECTION" && [ $((TRUSTED * 100)) -lt $((PEERS * ESTABLISHED_PERCENT)) ]; do
        [ $seconds -lt $ESTABLISH_SECONDS ] ||
            die "the relay trusts $TRUSTED of $PEERS clients after $seconds s (does shipworm-farm run for -S $SERVER, and does the relay route $SERVER and $CLIENTS to this host?)"
        send "$rate" 1
        seconds=$((seconds + 1))
    done
    echo "established peers=$PEERS trusted=$TRUSTED"
}

measure() {
    case $JOB in
    encap) DIRECTION=encapsulated SENDER=$NATIVE_NAME MAC=$NATIVE_MAC RECEIVER=$WAN_NAME ;;
    decap) DIRECTION=decapsulated SENDER=$WAN_NAME MAC=$WAN_MAC RECEIVER=$NATIVE_NAME ;;
    esac
    ask_relay "$DIRECTION"
    [ $((TRUSTED * 100)) -ge $((PEERS * ESTABLISHED_PERCENT)) ] ||
        die "the relay trusts $TRUSTED of $PEERS clients (first run: $PROGRAM establish, with the same options)"
    generator_up "$SENDER" "$MAC"
    frames_of "$JOB"
    THROUGHPUT=0
    for loss in $LOSSES; do search "$loss" "$THROUGHPUT"; done
}

read_settings "$@"
if [ "$JOB" = establish ]; then establish; else measure; fi
