# shellcheck shell=sh
# shellcheck disable=SC2034 # The variables are for measure.sh and generator.sh.
# What is measured: options of the command line, judged, and what follows from them.
# Sets the variables named in the usage text and PEERS, DST6_MIN, DST6_MAX, SRC_MIN, SRC_MAX, PORT_MIN, PORT_MAX.

PROGRAM=${0##*/}

USAGE="usage: $PROGRAM establish|encap|decap OPTIONS
  establish  let the relay know every client (shipworm-farm runs on this host)
  encap      native IPv6 to clients: send on the native side, receive on the IPv4 side
  decap      clients to native IPv6: send on the IPv4 side, receive on the native side
Interfaces of this host and the relay's MAC address there:
  -w NAME,MAC   IPv4 side         -n NAME,MAC   native side
Addresses:
  -s IPV4:PORT  the relay's service address
  -S IPV4       the clients' Teredo server (shipworm-farm)
  -c IPV4/LEN   the clients' mapped addresses, /16 to /32
  -p COUNT      clients at each address, a power of two up to 16384: ports from 32768 [1]
  -6 IPV6       the native host
Trial:
  -C CPUS       processors that send, one transmit queue each: 0,1,2 [0]
  -l BYTES      length of the inner IPv6 packet, 64 to 1280 [64]
  -d SECONDS    length of a trial [60]
  -R PPS        highest rate that is tried
  -L PERCENTS   losses allowed, one search each, ascending [0,0.1]
  -e PERMILLE   resolution of the search, of the highest rate [5]
  -q COMMAND    prints the relay's status as JSON [shipworm status --json]"

# First of the ports of clients.
CLIENT_PORT_MIN=32768
# What pktgen writes before its payload follows the inner headers at least: 40 + 8 + 16.
INNER_MIN=64
# The tunnel's MTU.
INNER_MAX=1280

die() {
    echo "$PROGRAM: $*" >&2
    exit 1
}

# number WHAT VALUE LEAST MOST
number() {
    case $2 in
    '' | *[!0-9]* | ????????????*) die "$1 $2: not a number (give one from $3 to $4)" ;;
    esac
    { [ "$2" -ge "$3" ] && [ "$2" -le "$4" ]; } || die "$1 $2: out of bounds (give one from $3 to $4)"
}

# ipv4_bits WHAT ADDRESS: prints the address as a number.
ipv4_bits() {
    what=$1 address=$2
    old_ifs=$IFS
    IFS=.
    # shellcheck disable=SC2086 # The address is to be split at its dots.
    set -- $address
    IFS=$old_ifs
    [ $# -eq 4 ] || die "$what $address: not an IPv4 address"
    for byte; do number "$what $address:" "$byte" 0 255; done
    echo $((($1 << 24) | ($2 << 16) | ($3 << 8) | $4))
}

ipv4_text() {
    echo "$(($1 >> 24 & 255)).$(($1 >> 16 & 255)).$(($1 >> 8 & 255)).$(($1 & 255))"
}

# side WHAT NAME,MAC: sets NAME and MAC.
side() {
    NAME=${2%%,*} MAC=${2#*,}
    [ -e "/sys/class/net/$NAME" ] || die "$1 $NAME: no such interface on this host (see: ip link)"
    case $MAC in
    [0-9a-fA-F][0-9a-fA-F]:*:*:*:*:[0-9a-fA-F][0-9a-fA-F]) ;;
    *) die "$1 $NAME: no MAC address of the relay behind the comma (say: -${1#-} $NAME,aa:bb:cc:dd:ee:ff)" ;;
    esac
    [ "$(cat "/sys/class/net/$NAME/operstate")" != down ] ||
        die "$1 $NAME: the interface is down (plug the cable, or: ip link set $NAME up)"
}

read_settings() {
    [ $# -ge 1 ] || { echo "$USAGE" >&2; exit 2; }
    JOB=$1
    shift
    case $JOB in
    establish | encap | decap) ;;
    *) echo "$USAGE" >&2; exit 2 ;;
    esac
    CPUS=0 LENGTH=$INNER_MIN SECONDS_A_TRIAL=60 LOSSES=0,0.1 RESOLUTION=5 PORTS=1
    STATUS='shipworm status --json'
    WAN='' NATIVE='' SERVICE='' SERVER='' CLIENTS='' HOST6='' RATE_MAX=''
    while getopts w:n:s:S:c:p:6:C:l:d:R:L:e:q: option; do
        case $option in
        w) WAN=$OPTARG ;; n) NATIVE=$OPTARG ;;
        s) SERVICE=$OPTARG ;; S) SERVER=$OPTARG ;;
        c) CLIENTS=$OPTARG ;; p) PORTS=$OPTARG ;;
        6) HOST6=$OPTARG ;; C) CPUS=$OPTARG ;;
        l) LENGTH=$OPTARG ;; d) SECONDS_A_TRIAL=$OPTARG ;;
        R) RATE_MAX=$OPTARG ;; L) LOSSES=$OPTARG ;;
        e) RESOLUTION=$OPTARG ;; q) STATUS=$OPTARG ;;
        *) echo "$USAGE" >&2; exit 2 ;;
        esac
    done
    for given in "-w:$WAN" "-n:$NATIVE" "-s:$SERVICE" "-S:$SERVER" "-c:$CLIENTS" "-6:$HOST6" "-R:$RATE_MAX"; do
        [ -n "${given#*:}" ] || die "${given%%:*} is missing (see the usage: $PROGRAM)"
    done
    judge_settings
}

judge_settings() {
    number -l "$LENGTH" $INNER_MIN $INNER_MAX
    number -d "$SECONDS_A_TRIAL" 1 3600
    number -R "$RATE_MAX" 1 1000000000
    number -e "$RESOLUTION" 1 500
    number -p "$PORTS" 1 16384
    [ $((PORTS & (PORTS - 1))) -eq 0 ] || die "-p $PORTS: not a power of two"
    CPUS=$(echo "$CPUS" | tr , ' ')
    for cpu in $CPUS; do number -C "$cpu" 0 8191; done
    LOSSES=$(echo "$LOSSES" | tr , ' ')

    side -w "$WAN"
    WAN_NAME=$NAME WAN_MAC=$MAC
    side -n "$NATIVE"
    NATIVE_NAME=$NAME NATIVE_MAC=$MAC

    SERVICE_IP=${SERVICE%:*} SERVICE_PORT=${SERVICE##*:}
    ipv4_bits -s "$SERVICE_IP" >/dev/null
    number "-s $SERVICE: port" "$SERVICE_PORT" 1 65535
    server=$(ipv4_bits -S "$SERVER") || exit 1
    case $HOST6 in
    *[!0-9a-fA-F:.]* | '') die "-6 $HOST6: not an IPv6 address" ;;
    esac
    prefix=${CLIENTS##*/}
    number "-c $CLIENTS: prefix" "$prefix" 16 32
    clients=$(ipv4_bits -c "${CLIENTS%/*}") || exit 1
    hosts=$(((1 << (32 - prefix)) - 1))
    [ $((clients & hosts)) -eq 0 ] || die "-c $CLIENTS: bits behind the prefix (say $(ipv4_text $((clients & ~hosts)))/$prefix)"
    PEERS=$(((hosts + 1) * PORTS))

    # pktgen draws from the first up to, but without, the last.
    SRC_MIN=$(ipv4_text "$clients")
    SRC_MAX=$(ipv4_text $((clients + hosts + 1)))
    PORT_MIN=$CLIENT_PORT_MIN
    PORT_MAX=$((CLIENT_PORT_MIN + PORTS))
    # It draws IPv6 addresses bit by bit: 1 where both have it, 0 where neither has, else at random. In a Teredo
    # address the mapped address and port stand inverted (RFC 4380 4).
    port=$((~CLIENT_PORT_MIN & 0xffff)) ip=$((~clients & 0xffffffff))
    DST6_MIN=$(teredo "$server" $((port & ~(PORTS - 1))) $((ip & ~hosts)))
    DST6_MAX=$(teredo "$server" $port $ip)
}

# teredo SERVER PORT IP: the address with these bits behind the prefix, flags 0.
teredo() {
    printf '2001:0000:%04x:%04x:0000:%04x:%04x:%04x\n' \
        $(($1 >> 16)) $(($1 & 0xffff)) "$2" $(($3 >> 16)) $(($3 & 0xffff))
}
