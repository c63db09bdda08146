import t from 'tap';
import { startPlugin } from './plugin-process.ts';

t.test('it says what it is, and lists nothing', async (t) => {
  const { call } = await startPlugin(t);
  t.same(await call('/Plugin.Activate'), { status: 200, answer: { Implements: ['VolumeDriver'] } });
  t.same((await call('/VolumeDriver.Capabilities')).answer, { Capabilities: { Scope: 'global' } });
  t.same((await call('/VolumeDriver.List')).answer, { Volumes: [] });
});

t.test('it refuses what it does not know in a clear sentence', async (t) => {
  const { call } = await startPlugin(t);
  t.match(await call('/VolumeDriver.Create', { Name: 'data', Opts: { type: 'tape' } }), {
    status: 500,
    answer: { Err: /^VOLUME_TYPE: Volume data cannot be created: this host has no volumes of type tape\./ },
  });
  t.match(await call('/VolumeDriver.Create', { Name: '../data', Opts: null }), {
    answer: { Err: /^VOLUME_NAME: .* cannot be the name of a volume: it has a slash\./ },
  });
  for (const method of ['Get', 'Path', 'Mount']) {
    t.match(await call(`/VolumeDriver.${method}`, { Name: 'data', ID: 'x' }), {
      status: 500,
      answer: { Err: /^VOLUME_UNKNOWN: Volume data is not known/ },
    });
  }
  t.match(await call('/VolumeDriver.Create', {}), { status: 400 }, 'a request that names no volume');
  t.match(await call('/VolumeDriver.Mount', { Name: 'data', ID: 'a|b' }), { status: 400 }, 'an id that is none');
  t.match(await call('/VolumeDriver.Nonsense', {}), { status: 404 });
});

t.test('while it cannot start, Get is no error: Docker would make a local volume of that name', async (t) => {
  const { call, child, ended, log } = await startPlugin(t, { LOG_LEVEL: 'loud' });
  t.match(log(), /SETTING_INVALID: LOG_LEVEL=loud is not a valid setting/);
  t.match(await call('/VolumeDriver.Get', { Name: 'data' }), {
    status: 200,
    answer: { Volume: { Name: 'data', Mountpoint: '', Status: { state: 'not confirmed', reason: /SETTING_INVALID/ } } },
  });
  t.match(await call('/VolumeDriver.Mount', { Name: 'data', ID: 'x' }), {
    status: 500,
    answer: { Err: /^SETTING_INVALID/ },
  });
  child.kill('SIGTERM');
  t.same(await ended, [0, null]);
});

t.test('SIGTERM ends it in order', async (t) => {
  const { child, ended } = await startPlugin(t);
  child.kill('SIGTERM');
  t.same(await ended, [0, null]);
});
