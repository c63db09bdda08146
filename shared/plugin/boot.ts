import { type Context, cancellable, newContext, sleep } from '../context.ts';
import { asPluginError, type PluginError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { pauseMs } from '../retry.ts';
import type { MethodTable, PluginServer } from './server.ts';

/** A plugin whose state is loaded. */
export interface Started {
  readonly methods: MethodTable;
  /** Makes the kernel and the state agree before the first call. A failure is logged; the repair loop tries again. */
  reconcile?(c: Context): Promise<void>;
  /** Ends loops, closes the store. Called once, after the last call has been answered. */
  stop?(c: Context): Promise<void>;
}

export interface BootOptions {
  readonly log: Logger;
  readonly server: PluginServer;
  readonly socket: string;
  /**
   * A second socket, where the engine looks for plugins by short names: it knows a managed plugin as `name:tag` only.
   * When it is taken, by another version of the plugin for instance, calls are refused with that as the reason.
   */
  readonly alias?: string;
  /**
   * Loads the state and builds the plugin. While it fails with an error of retry class `backoff` it is called again;
   * other errors are final. In either case calls are answered with the error: whoever types a command sees the reason.
   */
  start(c: Context): Promise<Started>;
  readonly startTimeoutMs?: number;
  readonly reconcileTimeoutMs?: number;
  /** The engine sends SIGKILL 10 s after SIGTERM. */
  readonly stopTimeoutMs?: number;
  /** For tests; by default those of this process. */
  readonly process?: Pick<NodeJS.Process, 'on' | 'exit'>;
}

/** One clear line for a plugin that does not come up: for its log, and for `main` to print when a setting is wrong. */
export const startFailure = (name: string, error: PluginError): string => `${name} cannot start: ${error.toUserText()}`;

/**
 * Runs a plugin: listen → start (load) → reconcile → ready. It listens first because the engine gives up on a plugin
 * whose socket is not there within seconds. SIGTERM and SIGINT end it in order; an unhandled error ends it with exit
 * code 1, since nobody knows what state it left. Answers when the plugin is ready or is known to be unable to.
 */
export const boot = async (options: BootOptions): Promise<void> => {
  const { log, server, socket, startTimeoutMs = 60_000, reconcileTimeoutMs = 30_000, stopTimeoutMs = 8_000 } = options;
  const host = options.process ?? process;
  const life = cancellable(newContext(log, Number.POSITIVE_INFINITY));
  let started: Started | undefined;
  let stopping = false;

  const stop = async (signal: string): Promise<void> => {
    if (stopping) {
      log.warn('asked twice to stop: ends at once', { signal });
      host.exit(1);
      return;
    }
    stopping = true;
    log.info('stopping', { signal, inFlight: server.inFlight });
    // Not unref'ed: it must also end a process in which nothing else goes on.
    setTimeout(() => {
      log.error('could not stop in time', { stopTimeoutMs });
      host.exit(1);
    }, stopTimeoutMs);
    const c = newContext(log, stopTimeoutMs);
    life.cancel(new Error('the plugin is being stopped'));
    try {
      await server.close(stopTimeoutMs * 0.6);
      await started?.stop?.(c);
      log.info('stopped');
      host.exit(0);
    } catch (error) {
      log.error('could not stop in order', { error });
      host.exit(1);
    }
  };
  const fatal = (error: unknown): void => {
    log.error('an error that nothing handles: the plugin ends and is started again', { error });
    host.exit(1);
  };
  host.on('unhandledRejection', fatal);
  host.on('uncaughtException', fatal);
  host.on('SIGTERM', (signal) => void stop(signal));
  host.on('SIGINT', (signal) => void stop(signal));

  try {
    await server.listen(socket);
  } catch (thrown) {
    const error = asPluginError(thrown);
    log.error(startFailure('the plugin', error), { error });
    host.exit(1);
    return;
  }
  try {
    if (options.alias !== undefined) await server.listen(options.alias);
  } catch (thrown) {
    const error = asPluginError(thrown);
    server.refuse(error);
    log.error(startFailure('the plugin', error), { error });
    return;
  }
  started = await startUntilItWorks(options, life.context, startTimeoutMs);
  if (started === undefined || stopping) return;
  try {
    await started.reconcile?.(newContext(log, reconcileTimeoutMs, life.context));
  } catch (error) {
    log.warn('what is there could not be reconciled; the repair loop will try again', { error });
  }
  if (stopping) return;
  server.install(started.methods);
  log.info('ready');
};

/** Undefined when it never will, or is being stopped. */
const startUntilItWorks = async (
  { log, server, start }: BootOptions,
  c: Context,
  timeoutMs: number,
): Promise<Started | undefined> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(newContext(log, timeoutMs, c));
    } catch (thrown) {
      if (c.signal.aborted) return undefined;
      const error = asPluginError(thrown);
      server.refuse(error);
      log.error(startFailure('the plugin', error), { error });
      if (error.retry !== 'backoff') return undefined;
    }
    const pause = await sleep(500 + pauseMs(attempt, { firstMs: 1_000, longestMs: 15_000 }), c).then(
      () => true,
      () => false,
    );
    if (!pause) return undefined;
  }
};
