/** A plugin for boot.test.ts, run as a process of its own: `boot-fixture.ts SOCKET MODE`. */
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger } from '../../../../shared/log.ts';
import { boot } from '../../../../shared/plugin/boot.ts';
import { PluginServer } from '../../../../shared/plugin/server.ts';

const [socket = '', mode = ''] = process.argv.slice(2);
const log = createLogger({ level: 'info' });
const server = new PluginServer({ log, readyTimeoutMs: 5_000 });
const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
let attempts = 0;

await boot({
  log,
  server,
  socket,
  stopTimeoutMs: 1_500,
  start: async () => {
    attempts += 1;
    say(`start ${attempts}`);
    if (mode === 'corrupt') throw new PluginError('STATE_CORRUPT', { file: '/x' });
    if (mode === 'unreachable' && attempts === 1) throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'etcd' });
    return {
      methods: {
        '/slow': () => new Promise((resolve) => setTimeout(() => resolve({ slow: true }), 300)),
        '/hang': () => new Promise(() => undefined),
        '/reject': async () => {
          void Promise.reject(new Error('nobody looks at this'));
          return new Promise(() => undefined);
        },
      },
      reconcile: async () => {
        say('reconcile');
        if (mode === 'drift') throw new Error('the kernel says no');
      },
      stop: async () => {
        say('stop');
        if (mode === 'stuck') await new Promise(() => undefined);
      },
    };
  },
});
say('up');
