/** What is in a guest besides Debian's packages: its first program, and what gives it a name and a time of its own. */

/** Debian packages of a guest; their dependencies come along. */
export const GUEST_PACKAGES = [
  ...['linux-image-cloud-amd64', 'docker.io', 'qemu-guest-agent', 'udev', 'kmod', 'iproute2', 'procps', 'curl'],
  // What Debian takes for granted, and packages therefore do not name.
  ...[
    'base-files',
    'bash',
    'dash',
    'coreutils',
    'util-linux',
    'perl-base',
    'findutils',
    'grep',
    'sed',
    'gzip',
    'hostname',
    'mount',
    'e2fsprogs',
    'sqlite3',
  ],
  // For those that are NFS servers; see `nfs-server.ts`.
  'nfs-kernel-server',
];

/** Names of the guest agent's serial ports: one for tests, one for the cloud that plugs disks. */
export const PORTS = ['test', 'cloud'] as const;
export type Port = (typeof PORTS)[number];

export const INIT_PATH = '/sbin/rig-init';
export const WAKE_PATH = '/sbin/rig-wake';
export const IN_USE_PATH = '/sbin/rig-disk-in-use';
/** What the engine starts containers with, and the program of that package in its stead. */
export const RUNC_PATH = '/usr/sbin/runc';
export const RUNC_PACKAGED_PATH = '/usr/sbin/runc.packaged';
/** Where the engine of a guest listens for clients. */
export const DOCKER_PORT = 2375;
/** Image for containers; see `base.ts`. */
export const IMAGE = 'drayage/database:1';

/** Shell command that starts the engine in the background. */
export const ENGINE = `dockerd -H unix:///run/docker.sock -H tcp://0.0.0.0:${DOCKER_PORT} --tls=false --bridge=none --iptables=false \\
  --ip6tables=false --storage-driver=overlay2 >> /var/log/dockerd.log 2>&1 &`;

/** Without systemd, which takes a minute in an emulated machine. The network is for volumes only: containers share the host's. */
export const INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/docker
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids +io' > /sys/fs/cgroup/cgroup.subtree_control
mount --make-rshared /
# The kernel draws its boot id when it is first read. That is to happen in the copies: until then, all read another one.
cat /proc/sys/kernel/random/uuid > /run/boot-id
mount --bind /run/boot-id /proc/sys/kernel/random/boot_id
# Those that the kernel would load by itself are read here once, and not in each copy.
for module in virtio_net virtio_console overlay xfs btrfs loop nfsv4 nfsd; do modprobe $module; done
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add
udevadm settle
ip link set lo up
for port in ${PORTS.join(' ')}; do
  mkdir -p /run/agent-$port
  (while :; do qemu-ga -p /dev/virtio-ports/$port -t /run/agent-$port -f /run/agent-$port/pid; sleep 1; done) &
done
mount /dev/vdb /var/lib/docker/plugins
${ENGINE}
while :; do wait; sleep 1; done
`;

/**
 * rig-wake NAME MAC ADDRESS/BITS GATEWAY SECONDS NONCE: the machine was copied while it ran. It gets its identity, the
 * time, and random numbers of its own (RNDRESEEDCRNG, linux/random.h): copies would draw the same ids otherwise.
 */
export const WAKE = `#!/bin/sh
set -e
date -s "@$5" > /dev/null
perl -e 'open F, ">", "/dev/urandom" or die; syswrite F, $ARGV[0]; ioctl F, 0x5207, 0 or die "reseed: $!"' "$6"
umount /proc/sys/kernel/random/boot_id
hostname "$1"
echo "$1" > /etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$1" > /etc/hosts
ip link set eth0 down
ip link set eth0 address "$2"
ip address add "$3" dev eth0
ip link set eth0 up
ip route add default via "$4"
`;

/** rig-disk-in-use SERIAL: succeeds when the disk is mounted (or claimed otherwise), in whatever mount namespace. */
export const IN_USE = `#!/bin/sh
for file in /sys/block/*/serial /sys/block/*/device/serial; do
  [ -e "$file" ] || continue
  read -r serial < "$file"
  [ "$serial" = "$1" ] || continue
  device=\${file#/sys/block/}
  exec perl -e 'sysopen F, $ARGV[0], 0200 and exit 1; exit($!{EBUSY} ? 0 : 1)' "/dev/\${device%%/*}"
done
exit 1
`;

/**
 * The engine waits 9 s for the socket of a plugin that it has started, and then gives the plugin up: enough for a real machine,
 * but not for an emulated one on a busy one. So it is told that a plugin has started when that listens.
 */
export const RUNC = `#!/bin/sh
case "$*" in
  */plugins.moby*' start '*) ;;
  *) exec ${RUNC_PACKAGED_PATH} "$@" ;;
esac
${RUNC_PACKAGED_PATH} "$@" || exit
tries=0
until grep -q '/plugins/cloudvol[.]sock' /proc/net/unix || [ $tries -ge 300 ]; do sleep 0.3; tries=$((tries + 1)); done
`;

/** `_rpc`: rpcbind runs as that one. */
export const PASSWD =
  'root:x:0:0:root:/root:/bin/sh\n_rpc:x:100:65534::/run/rpcbind:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/sh\n';
/** The groups that udev's rules name. */
export const GROUP = `root:x:0:\n${['tty', 'disk', 'lp', 'dialout', 'cdrom', 'tape', 'audio', 'video', 'kmem', 'input', 'sgx', 'kvm', 'render'].map((name, i) => `${name}:x:${i + 5}:\n`).join('')}nogroup:x:65534:\n`;
