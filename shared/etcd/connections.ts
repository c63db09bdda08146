import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import { badTlsFiles } from './connection-error.ts';
import { EtcdError } from './wire.ts';

export interface ConnectionOptions {
  /** Files in PEM form; read again after each failed connection, so that they may be replaced. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** How long a connection is kept that nobody uses, in milliseconds: a longer cut leaves none to be used after it. */
  readonly idleMs?: number;
}

/** TLS is 3 MB of memory: it is loaded for an endpoint that wants it. */
const https = (): typeof import('node:https') => process.getBuiltinModule('node:https');

/** Connections to etcd's endpoints: some are kept between requests, others serve one alone. */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #kept = new Map<URL, http.Agent>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Those that are kept between requests to `endpoint`; other ones after `drop`. Errors: EtcdError `auth`. */
  kept(endpoint: URL): http.Agent {
    const agent =
      this.#kept.get(endpoint) ??
      this.#newAgent(endpoint, { keepAlive: true, maxSockets: 8, timeout: this.#options.idleMs ?? 5_000 });
    this.#kept.set(endpoint, agent);
    return agent;
  }

  /** One that nothing else waits for, and that `drop` leaves alone. Errors: EtcdError `auth`. */
  alone(endpoint: URL): http.Agent {
    return this.#newAgent(endpoint, { keepAlive: false });
  }

  /**
   * Closes the kept connections to `endpoint` that nobody uses; the others end with their request, for they are no longer
   * known. With `only`, if these are still the kept ones.
   */
  drop(endpoint: URL, only?: http.Agent): void {
    const agent = this.#kept.get(endpoint);
    if (agent === undefined || (only !== undefined && agent !== only)) return;
    this.#kept.delete(endpoint);
    agent.maxFreeSockets = 0;
    for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  close(): void {
    for (const endpoint of [...this.#kept.keys()]) this.drop(endpoint);
  }

  /** Sends a POST of JSON at once; the caller attaches its listeners in the same tick. Errors: EtcdError `auth`. */
  request(
    endpoint: URL,
    path: string,
    body: object,
    agent: http.Agent,
    headers: Readonly<Record<string, string>>,
  ): http.ClientRequest {
    const payload = Buffer.from(JSON.stringify(body));
    const options = {
      method: 'POST',
      agent,
      headers: { 'Content-Type': 'application/json', 'Content-Length': payload.length, ...headers },
    };
    try {
      const request = (isTls(endpoint) ? https() : http).request(new URL(path, endpoint), options);
      request.end(payload);
      return request;
    } catch (cause) {
      // The files are looked into when the connection is made, and what is wrong with them is thrown at once.
      throw badTlsFiles(cause);
    }
  }

  #newAgent(endpoint: URL, options: http.AgentOptions): http.Agent {
    if (!isTls(endpoint)) return new http.Agent(options);
    const { ca, cert, key } = this.#options;
    const tls = { ...(ca && { ca: pem(ca) }), ...(cert && { cert: pem(cert) }), ...(key && { key: pem(key) }) };
    const { Agent } = https();
    return new Agent({ ...options, ...tls });
  }
}

const isTls = ({ protocol }: URL): boolean => protocol === 'https:';

const pem = (path: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new EtcdError('auth', `the file ${path} cannot be read`, cause);
  }
};
