import { PluginError } from '../errors.ts';
import { errnoName, errnoText, SystemCallError } from './syscalls.ts';

/**
 * The kernel refused something. `what` says what was attempted on what ("add route 10.1.0.0/24 on link 3"), `reason`
 * is the kernel's own explanation (extended acknowledgement) when it gave one.
 */
export class KernelError extends PluginError {
  /** Positive errno. */
  readonly errno: number;
  /** Such as `EEXIST`. */
  readonly errnoName: string;
  readonly what: string;
  readonly reason: string | undefined;

  constructor(what: string, errno: number, reason?: string) {
    // Everything that is asked of the kernel here takes one right, which a managed plugin's configuration gives.
    const hint = errnoName(errno) === 'EPERM' ? '; does the plugin have CAP_NET_ADMIN?' : '';
    super('KERNEL', { what: `to ${what}`, errno: errnoName(errno), reason: reason ?? `${errnoText(errno)}${hint}` });
    this.errno = errno;
    this.errnoName = errnoName(errno);
    this.what = what;
    this.reason = reason;
  }
}

/** True when `error` is the kernel's refusal, with one of these errno names if any are given. */
export const isKernelError = (error: unknown, ...names: string[]): error is KernelError =>
  error instanceof KernelError && (names.length === 0 || names.includes(error.errnoName));

/** The refusal of a system call as a KernelError; any other error as it is. */
export const asKernelError = (error: unknown, what: string): unknown =>
  error instanceof SystemCallError ? new KernelError(what, error.errno) : error;
