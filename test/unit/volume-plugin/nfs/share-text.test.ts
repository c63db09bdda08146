import t from 'tap';
import { ExportProvider } from '../../../../volume-plugin/nfs/export.ts';
import { parseShare, shareTextProblem } from '../../../../volume-plugin/nfs/share-text.ts';
import { codeOf, messageOf } from '../block/scratch.ts';

t.test('a share has one id, however it is written', async (t) => {
  for (const [text, id, server, path] of [
    ['10.0.0.5:/export', '10.0.0.5:/export', '10.0.0.5', '/export'],
    ['10.0.0.5:/export/', '10.0.0.5:/export', '10.0.0.5', '/export'],
    ['nfs://10.0.0.5/export//a/', '10.0.0.5:/export/a', '10.0.0.5', '/export/a'],
    ['nfs://10.0.0.5:2049/export', '10.0.0.5:/export', '10.0.0.5', '/export'],
    ['NAS.Example.com.:/', 'nas.example.com:/', 'nas.example.com', '/'],
    ['nfs://nas', 'nas:/', 'nas', '/'],
    ['[FD00::0:5]:/x', '[fd00::5]:/x', 'fd00::5', '/x'],
  ] as const) {
    t.match(parseShare(text), { id, server, path }, text);
    t.equal(parseShare(id).id, id);
  }
  t.match(parseShare('nfs://nas:20490/a b'), { id: 'nfs://nas:20490/a b', port: 20490 });
  t.equal(parseShare('nfs://[fd00::5]:20490/x').id, 'nfs://[fd00::5]:20490/x');
  t.notOk('port' in parseShare('nas:/x'));
});

t.test('what names no share is refused with the reason', async (t) => {
  for (const [text, pattern] of [
    ['10.0.0.5', /no server and path/],
    ['10.0.0.5/export', /no colon/],
    ['/export', /no colon/],
    ['nas:export', /does not begin with \//],
    ['300.1.1.1:/x', /"300\.1\.1\.1" is no host/],
    ['-nas:/x', /is no host/],
    ['fd00::5:/x', /stands in brackets/],
    ['[10.0.0.5]:/x', /only IPv6/],
    ['nfs://nas:0/x', /a port is/],
    ['nfs://nas:99999/x', /a port is/],
    ['nas:/a/../b', /"\.\."/],
    ['nas:/a\nb', /control/],
    ['', /./],
  ] as const) {
    t.match(shareTextProblem(text), pattern, JSON.stringify(text));
    t.throws(() => parseShare(text), { code: 'OPTION_INVALID', context: { option: 'share' } });
  }
});

t.test('shares of NFS_SHARE are known in their order, and the first one is for volumes that name none', async (t) => {
  const provider = new ExportProvider(['nas:/a/', '10.0.0.5:/b', 'nas:/a']);
  t.same(await provider.usual(), ['nas:/a', '10.0.0.5:/b']);
  t.equal(await provider.ensure({}), 'nas:/a');
  t.match(await provider.locate('nas:/a'), { id: 'nas:/a' });
  t.match(
    await messageOf(provider.ensure({ kind: 'elastic' })),
    /OPTION_INVALID: .*kind=elastic.*makes no file systems/,
  );
  t.equal(await codeOf(new ExportProvider([]).ensure({})), 'OPTION_MISSING');
  t.throws(() => new ExportProvider(['nas']), {
    code: 'SETTING_INVALID',
    context: { option: 'NFS_SHARE', value: 'nas' },
  });
  await provider.close();
});
