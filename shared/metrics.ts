import { createServer } from 'node:http';
import { PluginError } from './errors.ts';

/** A small registry of counters, gauges and histograms in the text format of Prometheus (0.0.4). */

export type Labels = Readonly<Record<string, string | number>>;

export interface Counter {
  /** `by` must not be negative. */
  inc(labels?: Labels, by?: number): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
}

export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

interface Metric {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Lines by their name and labels. */
  samples(): Iterable<readonly [name: string, value: number]>;
}

/** Seconds: from what a driver call takes to the engine's patience. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const quoted = (text: string): string => text.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));

const series = (name: string, labels: Labels, extra: Labels = {}): string => {
  const parts = Object.entries({ ...labels, ...extra }).map(([key, value]) => `${key}="${quoted(String(value))}"`);
  return parts.length === 0 ? name : `${name}{${parts.join(',')}}`;
};

const keyOf = (labels: Labels): string => JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));

const number = (value: number): string => {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : `${value > 0 ? '+' : '-'}Inf`;
};

export class Registry {
  readonly #metrics = new Map<string, Metric>();
  readonly #collectors: (() => void)[] = [];

  /** Its name should end in `_total`. */
  counter(name: string, help: string): Counter {
    const values = this.#values(name, 'counter', help);
    return {
      inc: (labels = {}, by = 1) => {
        if (by < 0) throw new RangeError(`counter ${name} cannot go down`);
        const key = keyOf(labels);
        const before = values.get(key) ?? { labels, value: 0 };
        values.set(key, { labels: before.labels, value: before.value + by });
      },
    };
  }

  gauge(name: string, help: string): Gauge {
    const values = this.#values(name, 'gauge', help);
    return { set: (value, labels = {}) => void values.set(keyOf(labels), { labels, value }) };
  }

  /** In base units: seconds, bytes. */
  histogram(name: string, help: string, buckets: readonly number[] = BUCKETS): Histogram {
    const all = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>();
    this.#add(name, {
      type: 'histogram',
      help,
      *samples() {
        for (const { labels, counts, sum, count } of all.values()) {
          let below = 0;
          for (const [i, bound] of buckets.entries()) {
            below += counts[i] ?? 0;
            yield [series(`${name}_bucket`, labels, { le: bound }), below] as const;
          }
          yield [series(`${name}_bucket`, labels, { le: '+Inf' }), count] as const;
          yield [series(`${name}_sum`, labels), sum] as const;
          yield [series(`${name}_count`, labels), count] as const;
        }
      },
    });
    return {
      observe: (value, labels = {}) => {
        const key = keyOf(labels);
        const one = all.get(key) ?? { labels, counts: buckets.map(() => 0), sum: 0, count: 0 };
        all.set(key, one);
        const bucket = buckets.findIndex((bound) => value <= bound);
        if (bucket >= 0) one.counts[bucket] = (one.counts[bucket] ?? 0) + 1;
        one.sum += value;
        one.count += 1;
      },
    };
  }

  /** Called before each rendering: sets gauges to what is true at that moment. */
  onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  render(): string {
    for (const collect of this.#collectors) collect();
    const lines = [...this.#metrics].flatMap(([name, { type, help, samples }]) => [
      `# HELP ${name} ${help.replace(/[\\\n]/g, (c) => (c === '\n' ? '\\n' : '\\\\'))}`,
      `# TYPE ${name} ${type}`,
      ...[...samples()].map(([line, value]) => `${line} ${number(value)}`),
    ]);
    return `${lines.join('\n')}\n`;
  }

  #values(name: string, type: 'counter' | 'gauge', help: string): Map<string, { labels: Labels; value: number }> {
    const values = new Map<string, { labels: Labels; value: number }>();
    this.#add(name, {
      type,
      help,
      samples: () => [...values.values()].map(({ labels, value }) => [series(name, labels), value] as const),
    });
    return values;
  }

  #add(name: string, metric: Metric): void {
    if (!/^[a-z_][a-z0-9_]*$/.test(name)) throw new TypeError(`no name for a metric: ${name}`);
    if (this.#metrics.has(name)) throw new TypeError(`metric ${name} is there already`);
    this.#metrics.set(name, metric);
  }
}

export interface MetricsListener {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves `GET /metrics` (and `/healthz`) over plain HTTP. An empty host is every address; port 0 picks one. Errors:
 * SOCKET_TAKEN.
 */
export const listenMetrics = async (
  registry: Registry,
  at: { readonly host: string; readonly port: number },
): Promise<MetricsListener> => {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    const known = path === '/metrics' || path === '/healthz';
    const status = !known ? 404 : request.method === 'GET' || request.method === 'HEAD' ? 200 : 405;
    const body = status !== 200 ? '' : path === '/metrics' ? registry.render() : 'ok\n';
    response.writeHead(status, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
    response.end(request.method === 'HEAD' ? undefined : body);
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', (cause) => {
    const reason = 'code' in cause ? String(cause.code) : cause.message;
    reject(new PluginError('SOCKET_TAKEN', { path: `${at.host}:${at.port} for metrics`, reason }, { cause }));
  });
  server.listen({ port: at.port, ...(at.host === '' ? {} : { host: at.host }) }, resolve);
  await promise;
  // The plugin must end although a scraper is connected.
  server.unref();
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : at.port,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
};
