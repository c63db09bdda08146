import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type Context, newContext } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';

/**
 * Addresses of servers by name: from /etc/hosts and the name servers of /etc/resolv.conf. Not through the C library: its
 * calls cannot be cut off, and four that wait for a name server that is gone hold up all file work of the process.
 */

/** A name that has no address, with the reason for users. */
export class UnresolvedName extends Error {
  override readonly name = 'UnresolvedName';
}

/** Where names are looked up. */
export interface NameSources {
  readonly hosts: string;
  readonly resolvConf: string;
  /** In the place of those of the system: `127.0.0.1:5353`. */
  readonly servers?: readonly string[];
}

export const SYSTEM_NAMES: NameSources = { hosts: '/etc/hosts', resolvConf: '/etc/resolv.conf' };

/** Of one question to one name server, in milliseconds; it is asked twice. */
const QUESTION_MS = 600;

/** Addresses to try, in order; an address is its own. Takes `ms` at most. Throws UnresolvedName. */
export const resolveServer = async (
  server: string,
  sources: NameSources,
  ms: number,
  c: Context,
): Promise<readonly string[]> => {
  if (isIP(server) !== 0) return [server];
  const step = newContext(c.log, ms, c);
  const known = hostsEntries(await readText(sources.hosts), server);
  if (known.length > 0) return known;
  const resolver = new Resolver({ timeout: QUESTION_MS, tries: 2, maxTimeout: QUESTION_MS });
  if (sources.servers !== undefined) resolver.setServers(sources.servers);
  const cancel = (): void => resolver.cancel();
  step.signal.addEventListener('abort', cancel, { once: true });
  try {
    for (const name of searched(server, await readText(sources.resolvConf))) {
      const found = await ask(resolver, name, step);
      if (found.length > 0) return found;
    }
  } finally {
    step.signal.removeEventListener('abort', cancel);
  }
  throw new UnresolvedName(`no name server knows an address of ${server}`);
};

/** None: the name servers know none. */
const ask = async (resolver: Resolver, name: string, c: Context): Promise<readonly string[]> => {
  for (const kind of ['A', 'AAAA'] as const) {
    try {
      return kind === 'A' ? await resolver.resolve4(name) : await resolver.resolve6(name);
    } catch (cause) {
      const code = codeOf(cause) ?? '';
      if (code === 'ENOTFOUND') return [];
      if (code !== 'ENODATA') throw new UnresolvedName(reasonOf(code), { cause });
    }
    if (c.signal.aborted) throw new UnresolvedName('no name server answers');
  }
  return [];
};

const reasonOf = (code: string): string =>
  ({
    ETIMEOUT: 'no name server answers',
    ECANCELLED: 'no name server answers',
    ECONNREFUSED: 'no name server is there',
    ESERVFAIL: 'the name server has trouble of its own',
    EREFUSED: 'the name server refuses to answer',
    EBADNAME: 'it is no name',
  })[code] ?? code;

/** The text of a file; none when there is no such file, as the C library has it. */
const readText = (path: string): Promise<string> =>
  readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return '';
    throw new UnresolvedName(`${path} cannot be read`, { cause: error });
  });

const linesOf = (text: string): readonly (readonly string[])[] =>
  text.split('\n').map((line) =>
    line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/),
  );

const hostsEntries = (text: string, server: string): readonly string[] =>
  linesOf(text)
    .filter(([, ...names]) => names.some((name) => name.toLowerCase() === server.toLowerCase()))
    .flatMap(([address = '']) => (isIP(address) === 0 ? [] : [address]));

/** The names to ask for, with the domains that are to be tried behind them: resolv.conf(5), `search` and `ndots`. */
const searched = (server: string, resolvConf: string): readonly string[] => {
  if (server.endsWith('.')) return [server];
  const lines = linesOf(resolvConf);
  const domains = lines.findLast(([word]) => word === 'search' || word === 'domain')?.slice(1) ?? [];
  const options = lines.filter(([word]) => word === 'options').flat();
  const ndots = Number(options.findLast((option) => /^ndots:\d{1,2}$/.test(option))?.slice('ndots:'.length) ?? 1);
  const behind = domains.map((domain) => `${server}.${domain}`);
  return server.split('.').length > ndots ? [server, ...behind] : [...behind, server];
};
