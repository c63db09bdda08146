/** What may know what. `test/architecture.test.ts` holds every source file to these rules. */

/**
 * Ranks by path; the longest prefix that fits decides. A file may import from lower ranks and from its own folder.
 * Folders of one rank know each other by type only (their contracts).
 */
export const ranks: Readonly<Record<string, number>> = {
  'test/': 200,
  'bin/': 100,
  'plugin-configs/': 100,
  'network-plugin/main.ts': 90,
  'network-plugin/program.ts': 88,
  'network-plugin/plugin.ts': 85,
  'network-plugin/protocol.ts': 80,
  'network-plugin/': 70,
  'network-plugin/datapath/': 50,
  'network-plugin/firewall/': 50,
  'network-plugin/ports/': 50,
  'network-plugin/route/': 50,
  'network-plugin/options.ts': 30,
  'network-plugin/state.ts': 30,
  'network-plugin/uplink.ts': 40,
  'volume-plugin/main.ts': 90,
  'volume-plugin/program.ts': 88,
  'volume-plugin/plugin.ts': 85,
  'volume-plugin/protocol.ts': 80,
  'volume-plugin/': 70,
  'volume-plugin/backends/': 60,
  'volume-plugin/backends/registry.ts': 65,
  'volume-plugin/block/': 50,
  'volume-plugin/nfs/': 50,
  'volume-plugin/object/': 50,
  'volume-plugin/object/http/': 48,
  'volume-plugin/fuse/': 52,
  'volume-plugin/objectfs/': 54,
  'volume-plugin/engine/': 56,
  'volume-plugin/options.ts': 30,
  'volume-plugin/state.ts': 30,
  'shared/plugin/': 16,
  'shared/etcd/': 14,
  'shared/cloud/': 14,
  'shared/state/': 14,
  'shared/kernel/': 12,
  'shared/': 10,
};

/** Files behind a contract: only composers choose among them; a family may import its own parts. */
export const implementations: readonly RegExp[] = [
  /^network-plugin\/route\/(host|etcd|aws|aliyun|auto)(-[a-z-]+)?\.ts$/,
  /^network-plugin\/datapath\/(ptp|bpf|bridge)(-[a-z-]+)?\.ts$/,
  /^volume-plugin\/backends\/(block|nfs|object)(-[a-z-]+)?\.ts$/,
  /^volume-plugin\/object\/(s3|oss|folder)(-[a-z-]+)?\.ts$/,
];

/** Files that put a plugin together: its entry, what builds it from settings, and tables of implementations. */
export const composer = /(^|\/)(main|plugin|registry)\.ts$/;

/** What only some files may use: a pattern in the code (comments and strings left out where `inText` is false). */
export interface Reserved {
  readonly what: string;
  readonly pattern: RegExp;
  readonly allowed: RegExp;
}

export const reserved: readonly Reserved[] = [
  {
    what: 'koffi',
    pattern: /from 'koffi'|import\('koffi'\)/,
    allowed: /^(shared\/kernel\/syscalls\.ts$|plugin-configs\/|test\/suites\/libc\.ts$)/,
  },
  {
    what: 'child_process',
    pattern: /'(node:)?child_process'/,
    allowed: /^(shared\/kernel\/(exec|companion)\.ts$|test\/|bin\/|plugin-configs\/)/,
  },
  {
    what: 'a shell',
    pattern: /\bshell: (true|')|\bexecSync\(|import \{[^}]*\bexec\b[^}]*\} from 'node:child_process'/,
    allowed: /^$/,
  },
  {
    what: 'process.env',
    pattern: /\bprocess\.env\b/,
    allowed: /(^|\/)main\.ts$|^(test|bin|plugin-configs)\/|^shared\/(plugin\/boot|kernel\/exec)\.ts$/,
  },
  { what: 'console', pattern: /\bconsole\.\w+\(/, allowed: /^(test|bin|plugin-configs)\// },
];

/** Lines: beyond `listed` a file is named in the output, beyond `refused` it fails. */
export const fileLength = { listed: 250, refused: 400 };

export const fileName = /^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.config|\.d)?\.(ts|mjs)$/;
