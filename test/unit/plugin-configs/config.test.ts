import { readFile } from 'node:fs/promises';
import t from 'tap';
import { configText, isPluginName, isUpToDate, PLUGINS, type PluginName } from '../../../plugin-configs/config.ts';

interface Config {
  readonly entrypoint: readonly string[];
  readonly interface: { readonly types: readonly string[]; readonly socket: string };
  readonly linux: { readonly capabilities: readonly string[]; readonly allowAllDevices: boolean };
  readonly mounts: readonly { readonly name: string; readonly settable: readonly string[] | null }[];
  readonly env: readonly {
    readonly name: string;
    readonly settable: readonly string[] | null;
    readonly value: string;
  }[];
}

const names = Object.keys(PLUGINS).filter(isPluginName);
const read = async (plugin: PluginName): Promise<Config> => JSON.parse(await configText(plugin)) as Config;

for (const plugin of names) {
  t.test(`${plugin}.json has the settings that the plugin knows`, async (t) => {
    t.ok(await isUpToDate(plugin), `if not: npm run build -- ${plugin} --write`);
  });
}

t.test('an image of the Dockerfile starts as the plugins do', async (t) => {
  const dockerfile = await readFile(new URL('../../../plugin-configs/Dockerfile', import.meta.url), 'utf8');
  const entrypoint = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? '') as string[];
  t.same((await read('network')).entrypoint, entrypoint);
  // Its driver is started by a first process that starts it again.
  t.same((await read('volume')).entrypoint, ['/bin/sh', '/usr/lib/drayage/first.sh', ...entrypoint]);
  const { env } = await read('network');
  const fixed = env
    .filter(({ name }) => /^(MALLOC_ARENA|NODE_COMPILE)/.test(name))
    .map(({ name, value }) => `${name}=${value}`);
  t.match(dockerfile, `\nENV ${fixed.join(' ')}\n`);
});

t.test('the network plugin asks for CAP_NET_ADMIN and nothing more', async (t) => {
  const { linux } = await read('network');
  t.same(linux.capabilities, ['CAP_NET_ADMIN']);
  t.equal(linux.allowAllDevices, false);
});

t.test('every setting can be set, and has the default that the documents name', async (t) => {
  const { env } = await read('network');
  const setting = (name: string) => env.find((entry) => entry.name === name);
  t.match(setting('PROVIDER'), { settable: ['value'], value: 'host' });
  t.match(setting('POOL'), { settable: ['value'], value: '10.64.0.0/12' });
  t.match(setting('ETCD_PASSWORD'), { settable: ['value'], value: '' });
  t.equal(setting('XTABLES_LOCKFILE')?.settable, null);
});

t.test('only mounts whose place differs between hosts can be set', async (t) => {
  const { mounts } = await read('network');
  t.same(
    mounts.filter(({ settable }) => settable?.includes('source')).map(({ name }) => name),
    ['state', 'plugins', 'lock'],
  );
});
