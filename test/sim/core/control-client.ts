/** Works a simulator in another process: a rig's side of `/_sim/…`. */
import { request } from 'node:http';
import type { Call, CallFilter } from './call-log.ts';
import type { Credential, KeyRequest } from './credentials.ts';
import type { FaultRule, ObjectFault } from './faults.ts';
import type { EffectiveRoute, RouteSink } from './routes.ts';

/** Ends what it belongs to. Throws what stopped it earlier. */
export interface Following {
  stop(): Promise<void>;
}

const queryOf = (filter: object): string => {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(filter)) query.set(key, String(value));
  return query.size === 0 ? '' : `?${query}`;
};

export class SimControl {
  readonly #at: string;

  /** `at`: the control interface's URL, or the path of its unix socket. */
  constructor(at: string) {
    this.#at = at;
  }

  /** One request; rejects with the simulator's sentence when it refuses. */
  ask<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const where = this.#at.startsWith('/')
      ? { socketPath: this.#at, path: `/_sim/${path}` }
      : { ...hostAndPort(this.#at), path: `/_sim/${path}` };
    return new Promise((resolve, reject) => {
      const sent = request({ ...where, method, agent: false, ...(signal ? { signal } : {}) }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.once('error', reject);
        response.once('end', () => {
          const text = Buffer.concat(parts).toString('utf8');
          if (response.statusCode === 200) resolve(JSON.parse(text) as T);
          else reject(new Error(`the simulator refused ${method} ${path}: ${text.trim()}`));
        });
      });
      sent.once('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Calls a verb of the simulator, such as `terminate`. */
  do<T>(verb: string, argument: unknown = {}): Promise<T> {
    return this.ask('POST', `do/${verb}`, argument);
  }

  calls(filter: CallFilter = {}): Promise<Call[]> {
    return this.ask('GET', `calls${queryOf(filter)}`);
  }

  key(wanted: KeyRequest = {}): Promise<Credential> {
    return this.ask('POST', 'keys', wanted);
  }

  /** Answers the fault's id, for `removeFault`. */
  async fault(rule: FaultRule<ObjectFault>): Promise<number> {
    return (await this.ask<{ id: number }>('POST', 'faults', rule)).id;
  }

  async removeFault(id: number): Promise<void> {
    await this.ask('DELETE', `faults/${id}`);
  }

  async clearFaults(): Promise<void> {
    await this.ask('DELETE', 'faults');
  }

  async advance(ms: number): Promise<void> {
    await this.ask('POST', 'clock', { advanceMs: ms });
  }

  routes(): Promise<{ version: number; routes: EffectiveRoute[] }> {
    return this.ask('GET', 'routes');
  }

  /** Gives `sink` the routes now and at each change, until it is stopped. Resolves when the first list is applied. */
  async follow(sink: RouteSink): Promise<Following> {
    const abort = new AbortController();
    let seen = await this.routes();
    await sink.apply(seen.routes);
    const work = (async () => {
      while (!abort.signal.aborted) {
        const next = await this.ask<typeof seen>('GET', `routes?after=${seen.version}`, undefined, abort.signal);
        if (next.version !== seen.version) await sink.apply(next.routes);
        seen = next;
      }
    })();
    const ended = work.catch((error: unknown) => {
      if (!abort.signal.aborted) throw error;
    });
    // Told by `stop`; until then nobody listens.
    ended.catch(() => undefined);
    return {
      stop: async () => {
        abort.abort();
        await ended;
      },
    };
  }
}

const hostAndPort = (url: string): { host: string; port: number } => {
  const { hostname, port } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
};
