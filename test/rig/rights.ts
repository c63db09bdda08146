/** What a plugin may ask for on this machine. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { must } from './command.ts';

/** Bits of /proc/self/status, as linux/capability.h numbers them: those that plugins ask for, or may. */
const BITS: Readonly<Record<string, bigint>> = {
  CAP_LINUX_IMMUTABLE: 9n,
  CAP_NET_ADMIN: 12n,
  CAP_NET_RAW: 13n,
  CAP_SYS_MODULE: 16n,
  CAP_SYS_PTRACE: 19n,
  CAP_SYS_ADMIN: 21n,
  CAP_SYS_RESOURCE: 24n,
};

interface Config {
  readonly linux: { readonly capabilities: readonly string[] };
}

/**
 * Hands `use` a built plugin without what nobody on this machine has, such as CAP_SYS_RESOURCE in a container: the engine
 * would refuse the whole plugin, and most of it works without. That is a copy: virtual machines use the folder, too, and
 * have every right.
 */
export async function withPossibleRights<T>(folder: string, use: (folder: string) => Promise<T>): Promise<T> {
  const bound = BigInt(`0x${/^CapBnd:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  const config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8')) as Config;
  const isPossible = (name: string): boolean => {
    const bit = BITS[name];
    return bit === undefined || ((bound >> bit) & 1n) === 1n;
  };
  const { capabilities } = config.linux;
  if (capabilities.every(isPossible)) return await use(folder);
  // In the same file system, for its files are links; with a dot in front, by which what a killed test leaves is swept.
  const copy = mkdtempSync(path.join(path.dirname(folder), `.${path.basename(folder)}-`));
  try {
    await must(['cp', '-al', path.join(folder, 'rootfs'), copy]);
    const linux = { ...config.linux, capabilities: capabilities.filter(isPossible) };
    writeFileSync(path.join(copy, 'config.json'), JSON.stringify({ ...config, linux }));
    return await use(copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}
