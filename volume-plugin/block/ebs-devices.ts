import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { now } from '../../shared/context.ts';
import { isBlockDevice } from '../../shared/kernel/block-device.ts';
import { type DeviceFolders, deviceBySerial } from '../../shared/kernel/disk-serial.ts';

/** Names that disks are attached by, and the devices that the kernel makes of them. */

const letters = (from: string, to: string): string[] => {
  const [first, last] = [from.charCodeAt(0), to.charCodeAt(0)];
  return Array.from({ length: last - first + 1 }, (_, n) => String.fromCharCode(first + n));
};

/** EC2 user guide, "Device names for volumes": those that it recommends for data, then the others that it takes. */
const NAMES: readonly string[] = [
  ...letters('f', 'p').map((letter) => `/dev/sd${letter}`),
  ...['b', 'c', 'd'].flatMap((first) => letters('a', 'z').map((second) => `/dev/xvd${first}${second}`)),
];

/** What was just asked for may not show in the list of an instance's devices. */
const HELD_MS = 60_000;

/** `/dev/sdf` and `/dev/xvdf` are one to Xen. */
const plain = (name: string): string => name.replace(/^\/dev\/(sd|xvd)/, '').replace(/\d+$/, '');

/** The names of this host's devices: each is given to one disk, also while EC2 has not heard of it. */
export class DeviceNames {
  /** Name → until when it is held, and for which disk. */
  readonly #held = new Map<string, { readonly disk: string; readonly until: number }>();

  /** A name that neither is in `used` nor was given to another disk a moment ago. Undefined: there is none left. */
  take(disk: string, used: readonly string[]): string | undefined {
    for (const [name, { until }] of this.#held) if (until <= now()) this.#held.delete(name);
    const isUsed = new Set(used.map(plain));
    const free = (name: string): boolean => !isUsed.has(plain(name)) && (this.#held.get(name)?.disk ?? disk) === disk;
    const name = NAMES.find(free);
    if (name !== undefined) this.hold(name, disk);
    return name;
  }

  /** Nobody else gets it for a while. */
  hold(name: string, disk: string): void {
    this.#held.set(name, { disk, until: now() + HELD_MS });
  }

  /** It came to nothing. */
  giveBack(name: string): void {
    this.#held.delete(name);
  }
}

/**
 * The device of a disk that is attached to this host: by the serial number that the kernel shows (NVMe, and virtio under
 * other clouds that speak EC2). On Xen, which shows none, by the name that it was attached by. Undefined while there is
 * none, or no node for it.
 */
export const deviceOf = async (
  serial: string,
  attachedAs: string | undefined,
  folders: DeviceFolders = {},
): Promise<string | undefined> => {
  const links = [`nvme-Amazon_Elastic_Block_Store_${serial}`, `virtio-${serial.slice(0, 20)}`];
  const found = (await deviceBySerial(serial, links, folders)) ?? (await xenDevice(attachedAs, folders));
  return found !== undefined && (folders.dev !== undefined || isBlockDevice(found)) ? found : undefined;
};

const xenDevice = async (
  attachedAs: string | undefined,
  { sys = '/sys/class/block', dev = '/dev' }: DeviceFolders,
): Promise<string | undefined> => {
  if (attachedAs === undefined) return undefined;
  const name = `xvd${plain(attachedAs)}`;
  const names = await readdir(sys);
  return names.includes(name) ? join(dev, name) : undefined;
};
