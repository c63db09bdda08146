/** A folder that an NFS server exports, and how hosts get at it. */

/** Best first. */
export const NFS_VERSIONS = ['4.2', '4.1', '4.0', '3'] as const;
export type NfsVersion = (typeof NFS_VERSIONS)[number];

/** A mount option each: `rsize` is `1048576`, `hard` is `true`. In the order in which they are given to the kernel. */
export type MountOptions = Readonly<Record<string, string | true>>;

/** As it is mounted. */
export interface Share {
  /** What tells it from others, the same on every host: `10.0.0.5:/export`, `fs-0123456789abcdef0:/`. */
  readonly id: string;
  /** Address or host name of the server, as this host reaches it. IPv6 addresses have no brackets. */
  readonly server: string;
  /** Absolute path of the export; of version 4, from the server's root. */
  readonly path: string;
  /** Absent: 2049, and what the server's portmapper says of version 3. */
  readonly port?: number;
  /** Which server this is, for what its vendor recommends. */
  readonly vendor: 'generic' | 'efs' | 'nas';
  /** What its server can, best first. */
  readonly versions: readonly NfsVersion[];
}
