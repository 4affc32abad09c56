# shellcheck shell=sh
# shellcheck disable=SC2034 # SENT and OFFERED are for measure.sh.
# The kernel's packet generator (Documentation/networking/pktgen.rst): a thread for each processor, each with a
# transmit queue of its own.

PKTGEN=/proc/net/pktgen

# say_to FILE COMMAND...: pktgen's opinion of a command stands in the file it was written to.
say_to() {
    file=$PKTGEN/$1
    shift
    echo "$*" 2>/dev/null >"$file" || refused "$*"
    case $file in
    */pgctrl) return ;;
    esac
    grep -q '^Result: OK' "$file" || refused "$*"
}

refused() {
    die "$file: pktgen refuses \"$1\": $(sed -n 's/^Result: //p' "$file" 2>/dev/null) (see the kernel's log)"
}

# generator_up NAME MAC: devices on interface NAME for frames to MAC; what they send is said by `frames_of`.
generator_up() {
    [ -e $PKTGEN/pgctrl ] || die "$PKTGEN is missing: load the generator (modprobe pktgen), as root"
    generator_down
    trap generator_down EXIT
    trap 'exit 130' HUP INT TERM
    queue=0
    DEVICES=''
    for cpu in $CPUS; do
        thread=kpktgend_$cpu
        [ -e "$PKTGEN/$thread" ] || die "-C $cpu: pktgen has no thread there (processors of this host: $(nproc))"
        [ -e "/sys/class/net/$1/queues/tx-$queue" ] ||
            die "-C: $1 has $queue transmit queues, fewer than processors named (see: ethtool -L $1)"
        device=$1@$queue
        say_to "$thread" add_device "$device"
        say_to "$device" dst_mac "$2"
        say_to "$device" flag NO_TIMESTAMP
        say_to "$device" queue_map_min "$queue"
        say_to "$device" queue_map_max "$queue"
        DEVICES="$DEVICES $device"
        queue=$((queue + 1))
    done
}

generator_down() {
    for thread in "$PKTGEN"/kpktgend_*; do
        [ ! -e "$thread" ] || echo rem_device_all >"$thread"
    done
}

# frames_of encap|decap: what the devices send. Every frame is for, or from, a client drawn at random.
frames_of() {
    for device in $DEVICES; do
        case $1 in
        encap)
            say_to "$device" pkt_size $((14 + LENGTH))
            say_to "$device" src6 "$HOST6"
            say_to "$device" dst6_min "$DST6_MIN"
            say_to "$device" dst6_max "$DST6_MAX"
            say_to "$device" udp_dst_min 9
            say_to "$device" udp_dst_max 9
            # Without a checksum the packet would not be one (RFC 8200 8.1).
            say_to "$device" flag UDPCSUM
            ;;
        decap)
            say_to "$device" pkt_size $((14 + 28 + LENGTH))
            say_to "$device" src_min "$SRC_MIN"
            say_to "$device" src_max "$SRC_MAX"
            say_to "$device" udp_src_min "$PORT_MIN"
            say_to "$device" udp_src_max "$PORT_MAX"
            say_to "$device" flag IPSRC_RND
            say_to "$device" flag UDPSRC_RND
            say_to "$device" dst "$SERVICE_IP"
            say_to "$device" udp_dst_min "$SERVICE_PORT"
            say_to "$device" udp_dst_max "$SERVICE_PORT"
            # Past the classifier of shipworm-farm, which makes it a client's packet.
            say_to "$device" xmit_mode queue_xmit
            ;;
        esac
    done
}

# send PPS SECONDS: sets SENT (packets) and OFFERED (packets a second).
send() {
    count=0
    for device in $DEVICES; do count=$((count + 1)); done
    share=$(($1 / count))
    [ $share -gt 0 ] || share=1
    for device in $DEVICES; do
        say_to "$device" ratep $share
        say_to "$device" count $((share * $2))
    done
    say_to pgctrl start
    SENT=0 slowest_us=1
    for device in $DEVICES; do
        sent=$(sed -n 's/.*pkts-sofar: *\([0-9]*\).*/\1/p' "$PKTGEN/$device")
        took_us=$(sed -n 's/^Result: OK: \([0-9]*\).*/\1/p' "$PKTGEN/$device")
        { [ -n "$sent" ] && [ -n "$took_us" ]; } ||
            die "$PKTGEN/$device: pktgen did not finish: $(tail -n 1 "$PKTGEN/$device")"
        SENT=$((SENT + sent))
        [ "$took_us" -le "$slowest_us" ] || slowest_us=$took_us
    done
    OFFERED=$((SENT * 1000000 / slowest_us))
}
