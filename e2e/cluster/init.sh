#!/bin/sh
# The first process of a node: gives it a network, and places of its own for whatever would stay on the machine.
#
#   init.sh PROGRAM STATE ADDRESS   the program that is all of Kubernetes, an empty directory, and the node's address
#
# It ends when its standard input does, and everything in its namespaces ends with it: processes, mounts, network.
set -eu
program=$1 state=$2 address=$3

# etcd, images, containers and volumes; what the programs put elsewhere in spite of it
mount -t tmpfs tmpfs "$state"
mount -t tmpfs tmpfs /run
# These two have no setting. The empty mount points are all that stays on the machine.
for place in /var/lib/kubelet /var/log/containers; do
    mkdir -p "$place"
    mount -t tmpfs tmpfs "$place"
done
mkdir /run/netns "$state/etcd" "$state/cni" "$state/settings"

# The kubelet sets these for the whole machine, unless it finds them as it wants them.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    place=/proc/sys/${setting%=*}
    [ -e "$place" ] || continue
    file=$state/settings/$(basename "$place")
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "$place"
done

# One end of the pair stands in for a network card: it has the address, and the other end leads nowhere.
ip link set lo up
ip link add node0 type veth peer name node1
ip address add "$address/24" dev node0
ip link set node0 up
ip link set node1 up
# An address of a Service needs a route before kube-proxy's rules get to see it.
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

# Pods' control groups are below one that has the name of the node's directory.
group=$(basename "$(dirname "$state")")
while read -r _ place type _; do
    case $type in cgroup | cgroup2) mkdir -p "$place/$group" ;; esac
done </proc/self/mounts

echo ready
exec "$program" tied init
