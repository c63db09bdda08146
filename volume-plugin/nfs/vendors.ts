import { mergeMountOptions } from './mount-options.ts';
import { type MountOptions, NFS_VERSIONS, type NfsVersion, type Share } from './share.ts';

export type Vendor = Share['vendor'];

/** What is known of a vendor's servers; the first whose host names fit is meant. */
interface VendorTraits {
  readonly vendor: Vendor;
  /** Absent: any host. */
  readonly hosts?: RegExp;
  /** What such a server speaks, best first. */
  readonly versions: readonly NfsVersion[];
  /** Of version 4, and of version 3. */
  readonly options: Readonly<Record<'4' | '3', MountOptions>>;
}

/** Written out for the kernel's usual values to be the same whatever the kernel's are: nfs(5). */
const PATIENT: MountOptions = { hard: true, timeo: '600', retrans: '2' };
const LARGE: MountOptions = { rsize: '1048576', wsize: '1048576', ...PATIENT };

/**
 * Locks of version 3 stay on their host: for others rpc.statd would have to run in the plugin, and a server would have
 * to reach it.
 */
const VERSION_3: MountOptions = { nolock: true, proto: 'tcp' };

/** NAS speaks neither 4.1 nor 4.2. Alibaba Cloud, "Mount a file system on Linux": its options and versions. */
const NAS = {
  vendor: 'nas',
  options: { 4: { ...LARGE, noresvport: true }, 3: { ...VERSION_3, ...LARGE, noresvport: true } },
} as const satisfies Partial<VendorTraits>;

const VENDORS: readonly VendorTraits[] = [
  {
    // Amazon EFS user guide, "Recommended NFS mount settings"; it speaks 4.0 and 4.1.
    vendor: 'efs',
    hosts: /\.efs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$/,
    versions: ['4.1', '4.0'],
    options: { 4: { ...LARGE, noresvport: true }, 3: { ...VERSION_3, ...LARGE, noresvport: true } },
  },
  { ...NAS, hosts: /\.extreme\.nas\.aliyuncs\.com$/, versions: ['3'] },
  { ...NAS, hosts: /\.nas\.aliyuncs\.com$/, versions: ['4.0', '3'] },
  // Sizes are agreed on with the server, which may be small. Exports of Linux servers want ports of root's ("secure").
  { vendor: 'generic', versions: NFS_VERSIONS, options: { 4: PATIENT, 3: { ...VERSION_3, ...PATIENT } } },
];

/** The vendor of a server by its host name or address, and what that server speaks. */
export const serverTraits = (host: string): Pick<Share, 'vendor' | 'versions'> => {
  const name = host.toLowerCase().replace(/\.$/, '');
  const found = VENDORS.find(({ hosts }) => hosts === undefined || hosts.test(name));
  return { vendor: found?.vendor ?? 'generic', versions: found?.versions ?? NFS_VERSIONS };
};

/** What the vendor recommends for mounts of this version, with `given` in its place, option by option. */
export const mountOptionsFor = (vendor: Vendor, version: NfsVersion, given: MountOptions): MountOptions => {
  const traits = VENDORS.find((one) => one.vendor === vendor);
  const merged = mergeMountOptions(traits?.options[version === '3' ? '3' : '4'] ?? {}, given);
  // The kernel does not look at these when it finds the share mounted already, and would go on with those of that mount.
  const isOverlooked = given['timeo'] !== undefined || given['retrans'] !== undefined;
  return isOverlooked ? mergeMountOptions({ nosharecache: true }, merged) : merged;
};
