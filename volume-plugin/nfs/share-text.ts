import { posix } from 'node:path';
import { parseAddress } from '../../shared/cidr.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Share } from './share.ts';
import { serverTraits } from './vendors.ts';

/** How people and settings write shares. */
export const SHARE_FORMS = 'HOST:/PATH, [IPV6]:/PATH or nfs://HOST:PORT/PATH';

const NFS_PORT = 2049;
const HOST_NAME = /^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*\.?$/i;
const URL_FORM = /^nfs:\/\/(\[[^\]]*\]|[^/:[\]]+)(?::(\d{1,5}))?(\/.*)?$/is;
const PLAIN_FORM = /^(\[[^\]]*\]|[^/:[\]]+):(\/.*)$/s;

interface Written {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

const split = (text: string): Written | string => {
  const url = URL_FORM.exec(text);
  const plain = PLAIN_FORM.exec(text);
  if (url !== null) return { host: url[1] ?? '', port: Number(url[2] ?? NFS_PORT), path: url[3] ?? '/' };
  if (plain !== null) return { host: plain[1] ?? '', port: NFS_PORT, path: plain[2] ?? '/' };
  if (/^[0-9a-f]*:[0-9a-f:.]*:\//i.test(text)) return 'an IPv6 address stands in brackets';
  if (/^[^/:]+\/|^\//.test(text)) return 'it has no colon between server and path';
  return /^[^:]+:[^/]/.test(text) ? 'its path does not begin with /' : 'it names no server and path';
};

/** In one way, whoever writes it; the clause of a refusal where it is no host. */
const hostOf = (written: string): { readonly host: string } | string => {
  const inner = /^\[(.*)\]$/.exec(written)?.[1];
  if (inner === undefined && HOST_NAME.test(written) && !/^[\d.]+$/.test(written)) {
    return { host: written.toLowerCase().replace(/\.$/, '') };
  }
  try {
    const { family, text } = parseAddress(inner ?? written);
    return (family === 6) === (inner !== undefined) ? { host: text } : 'only IPv6 stands in brackets';
  } catch (error) {
    return asPluginError(error).code === 'INTERNAL' ? 'it names no server' : `"${inner ?? written}" is no host`;
  }
};

const read = (text: string): Share | string => {
  const parts = split(text);
  if (typeof parts === 'string') return parts;
  const host = hostOf(parts.host);
  if (typeof host === 'string') return host;
  const { port } = parts;
  if (port < 1 || port > 65_535) return 'a port is a number from 1 to 65535';
  if (/\p{Cc}/u.test(parts.path)) return 'its path has control characters';
  if (parts.path.split('/').includes('..')) return 'its path has ".." in it';
  const path = posix.normalize(parts.path).replace(/(?<=.)\/$/, '');
  const shown = host.host.includes(':') ? `[${host.host}]` : host.host;
  const id = port === NFS_PORT ? `${shown}:${path}` : `nfs://${shown}:${port}${path}`;
  return { id, server: host.host, path, ...(port !== NFS_PORT && { port }), ...serverTraits(host.host) };
};

/** Why a text names no share of a server, as a clause; undefined when it does. */
export const shareTextProblem = (text: string): string | undefined => {
  const found = read(text);
  return typeof found === 'string' ? found : undefined;
};

/**
 * The share that a text names: `10.0.0.5:/export`, `[fd00::5]:/export`, `nfs://nas.example.com:20490/export`. What means
 * the same gets the same id. Errors: OPTION_INVALID.
 */
export const parseShare = (text: string): Share => {
  const found = read(text);
  if (typeof found !== 'string') return found;
  throw new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'share', value: text, reason: found },
    ...{ allowed: SHARE_FORMS, example: '10.0.0.5:/export' },
  });
};
