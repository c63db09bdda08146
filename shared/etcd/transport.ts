import { type Context, remaining } from '../context.ts';
import { connectionError } from './connection-error.ts';
import { type ConnectionOptions, Connections } from './connections.ts';
import { EtcdError, errorOf, isStaleToken, type WireError } from './wire.ts';

export interface EtcdOptions extends ConnectionOptions {
  /** `http://host:port` or `https://host:port`; several for fail-over. */
  readonly endpoints: readonly string[];
  readonly username?: string;
  readonly password?: string;
  /** Longest wait for one endpoint before the next is tried, in milliseconds. */
  readonly attemptMs?: number;
}

/** Far above any answer that this client asks for. */
const LARGEST_ANSWER = 64 * 1024 * 1024;

/** No answer came over a connection that was kept from earlier requests: a new one may work. */
class KeptConnectionError extends EtcdError {}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Carries requests to the first endpoint that answers, and stays with it. */
export class EtcdTransport {
  readonly #options: EtcdOptions;
  readonly #endpoints: readonly URL[];
  readonly #attemptMs: number;
  #current = 0;
  readonly #connections: Connections;
  /** What ends each open stream, and where it leads. */
  readonly #streams = new Map<(cause: unknown) => void, URL>();
  #token: string | undefined;
  #login: Promise<void> | undefined;

  constructor(options: EtcdOptions) {
    if (options.endpoints.length === 0) throw new EtcdError('refused', 'no endpoint is set');
    this.#options = options;
    this.#connections = new Connections(options);
    this.#endpoints = options.endpoints.map((text) => new URL(text));
    this.#attemptMs = options.attemptMs ?? 3000;
  }

  /** The endpoint that the next request goes to, without any credentials in it. */
  get endpoint(): string {
    return this.#at(this.#current).origin;
  }

  /** A call with one answer. Errors: EtcdError; `unreachable` also when the context ended while waiting. */
  async call<T>(path: string, body: object, c: Context): Promise<T> {
    const failures: string[] = [];
    for (let tried = 0; tried < this.#endpoints.length; tried += 1) {
      const endpoint = this.#at(this.#current);
      try {
        return await this.#authorised<T>(endpoint, path, body, c);
      } catch (error) {
        if (!(error instanceof EtcdError) || error.kind !== 'unreachable') throw error;
        failures.push(error.message);
        this.giveUp(endpoint.origin);
        if (remaining(c) === 0) break;
      }
    }
    throw new EtcdError('unreachable', failures.join('; '));
  }

  /**
   * Leaves this endpoint for the next one, unless that was done already. Nothing that was connected or read before is
   * used for it again: connections may be dead, certificates may be new.
   */
  giveUp(origin: string): void {
    for (const endpoint of this.#endpoints) if (endpoint.origin === origin) this.#connections.drop(endpoint);
    if (this.endpoint === origin) this.#current = (this.#current + 1) % this.#endpoints.length;
  }

  close(): void {
    this.#connections.close();
  }

  /**
   * A call whose answer goes on: one JSON text a line, handed to `onMessage`. `onEnd` comes exactly once, unless the
   * answered function, which stops the stream, was called before.
   */
  async stream(
    path: string,
    body: object,
    handlers: { onMessage(message: unknown): void; onEnd(error: EtcdError): void },
    c: Context,
  ): Promise<() => void> {
    const endpoint = this.#at(this.#current);
    await this.#logIn(endpoint, c);
    const request = this.#connections.request(endpoint, path, body, this.#connections.alone(endpoint), {
      ...this.#authorisation(),
      // A member that has lost its cluster ends the watch instead of falling silent.
      'Grpc-Metadata-hasleader': 'true',
    });
    let over = false;
    const end = (error: EtcdError): void => {
      if (over) return;
      over = true;
      request.destroy();
      handlers.onEnd(error);
    };
    const fail = (cause: unknown): void => end(connectionError(endpoint, cause));
    this.#streams.set(fail, endpoint);
    request.on('close', () => this.#streams.delete(fail));
    request.setTimeout(this.#attemptMs, () => fail('no answer to the watch'));
    request.on('error', fail);
    request.on('response', (response) => {
      request.setTimeout(0);
      response.socket.setKeepAlive(true, 10_000);
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (!over && line !== '') this.#message(line, handlers.onMessage, end);
      });
      response.on('error', fail);
      response.on('end', () => {
        if (rest !== '') this.#message(rest, handlers.onMessage, end);
        fail('the server ended the watch');
      });
    });
    return () => {
      over = true;
      request.destroy();
    };
  }

  #message(line: string, onMessage: (message: unknown) => void, end: (error: EtcdError) => void): void {
    let parsed: { readonly result?: unknown; readonly error?: WireError | string };
    try {
      parsed = JSON.parse(line);
    } catch (cause) {
      end(new EtcdError('unreachable', 'the watch sent something that is not JSON', cause));
      return;
    }
    if (parsed.error === undefined) {
      onMessage(parsed.result);
      return;
    }
    const wire = typeof parsed.error === 'string' ? (parsed as WireError) : parsed.error;
    if (isStaleToken(wire)) this.#token = undefined;
    end(errorOf(wire));
  }

  #at(index: number): URL {
    const found = this.#endpoints[index];
    if (found === undefined) throw new EtcdError('refused', 'no endpoint is set');
    return found;
  }

  async #authorised<T>(endpoint: URL, path: string, body: object, c: Context): Promise<T> {
    await this.#logIn(endpoint, c);
    const first = await this.#send(endpoint, path, body, c);
    if (first.status === 200) return parse<T>(first);
    const wire = parse<WireError>(first);
    if (!isStaleToken(wire) || this.#options.username === undefined) throw errorOf(wire);
    this.#token = undefined;
    await this.#logIn(endpoint, c);
    const second = await this.#send(endpoint, path, body, c);
    if (second.status !== 200) throw errorOf(parse<WireError>(second));
    return parse<T>(second);
  }

  /** Gets a token unless there is one; callers at the same time share the one request. */
  async #logIn(endpoint: URL, c: Context): Promise<void> {
    const { username, password = '' } = this.#options;
    if (username === undefined || this.#token !== undefined) return;
    this.#login ??= (async () => {
      const answer = await this.#send(endpoint, '/v3/auth/authenticate', { name: username, password }, c);
      if (answer.status === 200) {
        this.#token = parse<{ token?: string }>(answer).token;
        return;
      }
      const wire = parse<WireError>(answer);
      // An etcd without authentication takes no log-in, and needs none.
      if (/authentication is not enabled/.test(wire.error ?? wire.message ?? '')) return;
      throw errorOf(wire);
    })().finally(() => {
      this.#login = undefined;
    });
    await this.#login;
  }

  /**
   * A kept connection may lead nowhere: a cut, or something on the way that forgot it. Whatever else was connected then
   * is not trusted either once a new connection has shown that the endpoint itself is well.
   */
  async #send(endpoint: URL, path: string, body: object, c: Context): Promise<Answer> {
    const streams = [...this.#streams.keys()];
    try {
      return await this.#ask(endpoint, path, body, c);
    } catch (error) {
      if (!(error instanceof KeptConnectionError) || remaining(c) === 0) throw error;
      const answer = await this.#ask(endpoint, path, body, c);
      for (const end of streams) if (this.#streams.get(end) === endpoint) end('a connection of the same age is dead');
      return answer;
    }
  }

  async #ask(endpoint: URL, path: string, body: object, c: Context): Promise<Answer> {
    if (remaining(c) === 0) throw new EtcdError('unreachable', `${endpoint.origin}: no time was left to ask`);
    const agent = this.#connections.kept(endpoint);
    return new Promise<Answer>((resolve, reject) => {
      const request = this.#connections.request(endpoint, path, body, agent, this.#authorisation());
      // On a kept connection time is left for a new one.
      const share = request.reusedSocket ? 0.5 : 1;
      const wait = Math.min(this.#attemptMs, remaining(c)) * share;
      const timer = setTimeout(() => request.destroy(new Error(`no answer within ${Math.round(wait)} ms`)), wait);
      let answered = false;
      const onAbort = (): void => void request.destroy(new Error('no answer before the call was given up'));
      const settle = (done: () => void): void => {
        clearTimeout(timer);
        c.signal.removeEventListener('abort', onAbort);
        done();
      };
      c.signal.addEventListener('abort', onAbort, { once: true });
      request.on('error', (cause) => {
        const error = connectionError(endpoint, cause);
        const kept = request.reusedSocket && !answered;
        if (kept) this.#connections.drop(endpoint, agent);
        settle(() => reject(kept ? new KeptConnectionError('unreachable', error.message, cause) : error));
      });
      request.on('response', (response) => {
        answered = true;
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > LARGEST_ANSWER) request.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('error', (cause) => settle(() => reject(connectionError(endpoint, cause))));
        response.on('end', () =>
          settle(() => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') })),
        );
      });
    });
  }

  #authorisation(): Readonly<Record<string, string>> {
    return this.#token === undefined ? {} : { Authorization: this.#token };
  }
}

const parse = <T>(answer: Answer): T => {
  try {
    return JSON.parse(answer.text) as T;
  } catch (cause) {
    throw new EtcdError('unreachable', `the endpoint answered ${answer.status} with something that is not JSON`, cause);
  }
};
