/** A simulator in a process of its own, wherever the rig wants it: for instance in the router's network namespace. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CoreConfig } from './config.ts';
import { SimControl } from './control-client.ts';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

/** What the process says of itself once it listens. */
export interface SimInfo {
  readonly cloud: string;
  readonly endpoint: string;
  readonly metadataEndpoint: string;
  readonly control: string;
  readonly region: string;
  readonly environment: Readonly<Record<string, string>>;
}

export interface SimProcess {
  readonly info: SimInfo;
  readonly control: SimControl;
  readonly pid: number;
  /** Ends the process and waits until it is gone. */
  close(): Promise<void>;
}

export interface SimProcessRequest {
  readonly cloud: 'aws' | 'aliyun';
  /** The simulator's configuration as JSON. `control` should be a unix socket when `within` enters another network. */
  readonly config: Omit<CoreConfig, 'clock'> & Readonly<Record<string, unknown>>;
  /** Put before the command, such as `['ip', 'netns', 'exec', 'router']`. */
  readonly within?: readonly string[];
  /** 20 s by default. */
  readonly timeoutMs?: number;
}

/** Starts it and waits until it listens. It ends by itself when this process does. Rejects with what it said on stderr. */
export async function startSimProcess(request: SimProcessRequest): Promise<SimProcess> {
  const [program = '', ...args] = [...(request.within ?? []), process.execPath, MAIN, request.cloud, '--child'];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const said: string[] = [];
  child.stderr.on('data', (part: Buffer) => said.push(part.toString('utf8')));
  // The reader may be gone before it reads: `ended` tells.
  child.stdin.on('error', (error) => said.push(`${error.message}\n`));
  child.stdin.write(`${JSON.stringify(request.config)}\n`);
  const timeoutMs = request.timeoutMs ?? 20_000;
  const info = await new Promise<SimInfo>((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new Error(`the ${request.cloud} simulator ${why}: ${said.join('').trim()}`));
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`did not start within ${timeoutMs} ms`);
    }, timeoutMs);
    child.once('error', (error) => fail(`cannot be started (${error.message})`));
    ended.then(() => fail('ended at its start'));
    createInterface(child.stdout).once('line', (line) => {
      clearTimeout(timer);
      resolve(JSON.parse(line) as SimInfo);
    });
  });
  return {
    info,
    control: new SimControl(info.control),
    pid: child.pid ?? 0,
    close: async () => {
      child.stdin.end();
      const killer = setTimeout(() => child.kill('SIGKILL'), 2000);
      await ended;
      clearTimeout(killer);
    },
  };
}
