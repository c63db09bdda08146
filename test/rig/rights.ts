/** What a plugin may ask for on this machine. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

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
 * Takes from a built plugin what nobody on this machine has, such as CAP_SYS_RESOURCE in a container: the engine would
 * refuse the whole plugin, and most of it works without. Answers what was taken.
 */
export function withoutMissingRights(folder: string): string[] {
  const bound = BigInt(`0x${/^CapBnd:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  const file = path.join(folder, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as Config;
  const isMissing = (name: string): boolean => {
    const bit = BITS[name];
    return bit !== undefined && ((bound >> bit) & 1n) === 0n;
  };
  const { capabilities } = config.linux;
  const missing = capabilities.filter(isMissing);
  if (missing.length === 0) return [];
  const linux = { ...config.linux, capabilities: capabilities.filter((name) => !isMissing(name)) };
  writeFileSync(file, JSON.stringify({ ...config, linux }));
  return missing;
}
