import { BlockList, isIP } from 'node:net';

/** Tells whether a host (a name, or an address without brackets) is reached without the proxy. */
export type Exceptions = (host: string) => boolean;

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

/**
 * `entries`: names, each with all that is below it (`example.com` and `.example.com` are the same), addresses, and prefixes
 * such as `10.0.0.0/8`; `*` is everything. Names are not resolved for it. What is none of these is none of them.
 */
export const exceptionsOf = (entries: readonly string[]): Exceptions => {
  const addresses = new BlockList();
  const names: string[] = [];
  for (const entry of entries) {
    const [address = '', length] = entry.replace(/^\[|\]$/g, '').split('/', 2);
    if (isIP(address) === 0) names.push(entry.toLowerCase().replace(/^\*?\./, ''));
    else if (length === undefined) addresses.addAddress(address, familyOf(address));
    else if (isLength(address, length)) addresses.addSubnet(address, Number(length), familyOf(address));
  }
  return (host) => {
    if (names.includes('*')) return true;
    if (isIP(host) !== 0) return addresses.check(host, familyOf(host));
    const name = host.toLowerCase().replace(/\.$/, '');
    return names.some((one) => name === one || name.endsWith(`.${one}`));
  };
};

const isLength = (address: string, length: string): boolean =>
  /^\d{1,3}$/.test(length) && Number(length) <= (isIP(address) === 6 ? 128 : 32);

/** Why an entry is none; undefined: it is one. */
export const exceptionProblem = (entry: string): string | undefined => {
  const [address = '', length, more] = entry.split('/');
  if (isIP(address) !== 0) {
    return more === undefined && (length === undefined || isLength(address, length))
      ? undefined
      : `${entry} is no prefix`;
  }
  return /^(\*|\*?\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*)$/i.test(entry) ? undefined : `${entry} is no name, address or prefix`;
};
