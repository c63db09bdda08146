import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../error-code.ts';
import { KernelError } from './kernel-error.ts';
import { insideNetns } from './netns.ts';

/**
 * Kernel settings below net/. In a managed plugin /proc/sys is read-only and the host's /proc/sys/net is bind-mounted
 * at /host/sys-net; elsewhere it is /proc/sys/net itself. Both show the network namespace of the thread that opens a
 * file, whoever mounted them. Kernel source: net/sysctl_net.c (net_ctl_header_lookup).
 */

export const HOST_SYS_NET = '/host/sys-net';
export const PROC_SYS_NET = '/proc/sys/net';

/** The folder to use here: the host's bind mount where there is one. */
export const sysNetRoot = (): string => {
  try {
    accessSync(join(HOST_SYS_NET, 'ipv4'), constants.F_OK);
    return HOST_SYS_NET;
  } catch {
    return PROC_SYS_NET;
  }
};

const SAFE = /^[A-Za-z0-9_.@:+-]+(\/[A-Za-z0-9_.@:+-]+)+$/;
const EIO = 5;

export class Sysctl {
  readonly root: string;
  readonly #netns: number | undefined;

  /** `root` stands for /proc/sys/net; `netns` is the descriptor of another network namespace to act in. */
  constructor(options: { readonly root?: string; readonly netns?: number } = {}) {
    this.root = options.root ?? sysNetRoot();
    this.#netns = options.netns;
  }

  /**
   * The value, trimmed. `key` is a path below net/ such as `ipv4/ip_forward` or `ipv6/conf/eth0/accept_ra` (slashes,
   * because a link's name may hold a dot). Undefined when the kernel has no such setting (IPv6 off, link gone).
   * Throws KernelError when it cannot be read.
   */
  read(key: string): string | undefined {
    const path = this.#path(key);
    try {
      return this.#there(() => readFileSync(path, 'utf8')).trim();
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw refusal(`read the setting net/${key}`, error);
    }
  }

  /**
   * Writes `value` unless it is there already; answers whether it wrote. Throws KernelError: ENOENT when there is no
   * such setting, EROFS and EACCES with what to do about them.
   */
  write(key: string, value: string | number): boolean {
    const text = String(value);
    const what = `set net/${key} to ${text}`;
    const present = this.read(key);
    if (present === text) return false;
    if (present === undefined) throw new KernelError(what, 2, 'this kernel has no such setting');
    this.set(key, value);
    return true;
  }

  /** Writes `value` without looking. Throws KernelError, as `write` does. */
  set(key: string, value: string | number): void {
    const text = String(value);
    const path = this.#path(key);
    try {
      this.#there(() => writeFileSync(path, text));
    } catch (error) {
      throw refusal(`set net/${key} to ${text}`, error);
    }
  }

  #there<R>(work: () => R): R {
    return this.#netns === undefined ? work() : insideNetns(this.#netns, work);
  }

  #path(key: string): string {
    if (!SAFE.test(key) || key.split('/').some((part) => part === '.' || part === '..')) {
      throw new RangeError(`"${key}" is not a setting`);
    }
    return join(this.root, key);
  }
}

const refusal = (what: string, error: unknown): KernelError => {
  const errno = error instanceof Error && 'errno' in error ? Math.abs(Number(error.errno)) : EIO;
  const code = codeOf(error);
  const remedy =
    code === 'EROFS'
      ? `${PROC_SYS_NET} is read-only here: bind the host's to ${HOST_SYS_NET}, or set it on the host with sysctl`
      : code === 'EACCES' || code === 'EPERM'
        ? 'CAP_NET_ADMIN is missing'
        : undefined;
  return new KernelError(what, errno, remedy);
};
