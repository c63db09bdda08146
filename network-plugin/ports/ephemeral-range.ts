import { readFile } from 'node:fs/promises';

const FILE = '/proc/sys/net/ipv4/ip_local_port_range';
/** The kernel's own default. */
const USUAL = [32_768, 60_999] as const;

/** The ports that the kernel hands out on this host: first and last. */
export const ephemeralRange = async (file = FILE): Promise<readonly [first: number, last: number]> => {
  const [first = 0, last = 0] = (await readFile(file, 'utf8')).trim().split(/\s+/).map(Number);
  return first > 0 && last >= first && last < 65_536 ? [first, last] : USUAL;
};
