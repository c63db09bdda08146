/** A simulated object store as a program: what its command line says, and how it ends. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ObjectSim, ObjectSimConfig } from './simulator.ts';

const usage = (name: string): string => `usage: node test/sim/${name}/main.ts [options]
  --port PORT     where it listens (any free port); the control interface is on the next one
  --control-socket PATH   the control interface on a unix socket instead
  --host ADDRESS  127.0.0.1
  --latency MS    added to each answer (0)
  --bucket NAME   is there from the start; may be repeated
  --region NAME   the region
  --domain NAME   hosts below it name a bucket (localhost); may be repeated
  --key ID:SECRET an access key (one is made otherwise)
  --tls-key FILE --tls-cert FILE   HTTPS
  --fast-etags    ETags of large bodies are no MD5
  --json          prints one line of JSON and nothing else
`;

const numbered = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value >= 0 && value <= 600_000)) throw new Error(`--${name} ${text}: give a number.`);
  return value;
};

const configOf = (args: string[]): { config: ObjectSimConfig; json: boolean } => {
  const one = { type: 'string' } as const;
  const some = { type: 'string', multiple: true } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args,
    options: {
      ...{ port: one, 'control-socket': one, host: one, latency: one, region: one, key: one },
      ...{ 'tls-key': one, 'tls-cert': one, bucket: some, domain: some, 'fast-etags': flag, json: flag },
    },
  });
  const port = numbered('port', values.port);
  const socket = values['control-socket'];
  const control = socket !== undefined ? { socket } : port === undefined ? {} : { port: port + 1 };
  const [id = '', secret = ''] = values.key?.split(':', 2) ?? [];
  const { 'tls-key': key, 'tls-cert': cert, host, region, bucket: buckets, domain: domains } = values;
  const tls =
    key === undefined || cert === undefined
      ? undefined
      : { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  return {
    json: values.json,
    config: {
      control,
      latencyMs: numbered('latency', values.latency) ?? 0,
      fastEtags: values['fast-etags'],
      ...(port === undefined ? {} : { port }),
      ...(host === undefined ? {} : { host }),
      ...(region === undefined ? {} : { region }),
      ...(buckets === undefined ? {} : { buckets }),
      ...(domains === undefined ? {} : { domains }),
      ...(tls === undefined ? {} : { tls }),
      ...(id === '' ? {} : { key: { id, secret } }),
    },
  };
};

/** Runs until a signal, or until standard input ends when that is a pipe (whoever started it is gone then). */
export async function runObjectSim(
  name: string,
  start: (config: ObjectSimConfig) => Promise<ObjectSim>,
): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
    if (process.argv.includes('--child')) process.stdin.once('end', () => resolve()).resume();
  });
  try {
    const { config, json } = configOf(process.argv.slice(2).filter((each) => each !== '--child'));
    const sim = await start(config);
    const { id, secret } = config.key ?? sim.key();
    const info = { ...sim.info(), key: { id, secret } };
    const lines = Object.entries(sim.environment({ id, secret, principal: { name: 'user', actions: ['*'] } }));
    const text = lines.map(([variable, value]) => `export ${variable}='${value}'\n`).join('');
    process.stdout.write(json ? `${JSON.stringify(info)}\n` : `${text}# control: ${info.control}/_sim/\n`);
    await ended;
    await sim.close();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage(name)}`);
    process.exitCode = 1;
    process.stdin.destroy();
  }
}
