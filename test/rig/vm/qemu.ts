/** QEMU's command line for a guest, the same for the template and for all that are started from it. */
import path from 'node:path';
import type { GuestBase } from './base.ts';
import { PORTS, type Port } from './guest.ts';

/** Slots that disks are plugged into while the guest runs. */
export const DISK_SLOTS = ['slot1', 'slot2', 'slot3', 'slot4'] as const;
export const MEMORY = '768M';
/** Name of a throttle group that throttles nothing: its nodes are layers that can be put onto another disk. */
export const NO_LIMIT = 'no-limit';

export interface QemuParts {
  readonly base: GuestBase;
  /** Folder for the sockets; short, for the names of sockets are at most 107 characters. */
  readonly folder: string;
  /** qcow2 overlays of the root and of the engine's folder of plugins. */
  readonly root: string;
  readonly plugins: string;
  /** File with the machine's memory: `make` writes to it, `copy` begins with what is in it and keeps changes to itself. */
  readonly memory: { readonly file: string; readonly use: 'make' | 'copy' };
  /** Name of the tap. */
  readonly tap: string;
}

/** Path of the monitor's socket for one of its two users. */
export const monitorSocket = (folder: string, port: Port): string => path.join(folder, `${port}.qmp`);
/** Path of the guest agent's socket for one of its two users. */
export const agentSocket = (folder: string, port: Port): string => path.join(folder, `${port}.ga`);

/** A machine made to be copied waits for its state with `copy`. Files are below the machine's file locks where they are shared. */
export function qemuArguments(parts: QemuParts): string[] {
  const { base, folder, memory } = parts;
  const share = memory.use === 'make' ? 'on' : 'off';
  const disk = (id: string, file: string): string[] => [
    ...['-drive', `if=none,id=${id},file=${file},format=qcow2,cache=unsafe`],
    ...['-device', `virtio-blk-pci,drive=${id}`],
  ];
  return [
    ...['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-machine', 'q35,usb=off,memory-backend=memory', '-accel', 'tcg,thread=multi,tb-size=256'],
    ...['-cpu', 'max', '-smp', '1', '-m', MEMORY],
    ...['-object', `memory-backend-file,id=memory,size=${MEMORY},mem-path=${memory.file},share=${share}`],
    ...['-object', `throttle-group,id=${NO_LIMIT}`],
    ...['-kernel', base.kernel, '-initrd', base.initrd],
    ...['-append', 'console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off nokaslr random.trust_cpu=on'],
    ...['-serial', `file:${path.join(folder, 'console.log')}`],
    ...disk('root', parts.root),
    ...disk('plugins', parts.plugins),
    ...['-netdev', `tap,id=net,ifname=${parts.tap},script=no,downscript=no`],
    ...['-device', 'virtio-net-pci,netdev=net,romfile='],
    ...['-device', 'virtio-serial-pci'],
    ...PORTS.flatMap((port) => [
      ...['-chardev', `socket,id=${port},path=${agentSocket(folder, port)},server=on,wait=off`],
      ...['-device', `virtserialport,chardev=${port},name=${port}`],
      ...['-qmp', `unix:${monitorSocket(folder, port)},server=on,wait=off`],
    ]),
    ...DISK_SLOTS.flatMap((id, i) => ['-device', `pcie-root-port,id=${id},chassis=${i + 1},slot=${i + 1}`]),
    ...(memory.use === 'copy' ? ['-incoming', 'defer'] : []),
  ];
}
