import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { deviceBySerial } from '../../../../shared/kernel/disk-serial.ts';

/** Folders such as sysfs and /dev have, with these files and links. */
const machine = (t: Test, files: Readonly<Record<string, string>>, links: Readonly<Record<string, string>> = {}) => {
  const root = mkdtempSync(join(tmpdir(), 'serial-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const [sys, dev] = [join(root, 'sys'), join(root, 'dev')];
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(sys, path)), { recursive: true });
    writeFileSync(join(sys, path), text);
  }
  mkdirSync(join(dev, 'disk', 'by-id'), { recursive: true });
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(dev, 'disk', 'by-id', name));
  const find = async (serial: string, names: readonly string[] = []): Promise<string | undefined> =>
    (await deviceBySerial(serial, names, { sys, dev }))?.replace(`${dev}/`, '');
  return { find };
};

t.test('NVMe and virtio disks are found by what the kernel shows of them', async (t) => {
  const { find } = machine(t, {
    'nvme0n1/device/serial': 'vol0aaa             \n',
    'nvme0n1p1/partition': '1',
    'nvme0n1p1/device/serial': 'vol0bbb\n',
    'nvme1n1/device/serial': 'vol0bbb\n',
    'nvme1c0n1/device/serial': 'vol0bbb\n',
    'vda/serial': 'bp1system',
    'vdb/serial': 'bp18um4r4f2fve2444e5',
    'vdb1/partition': '1',
    'loop0/size': '0',
  });
  t.equal(await find('vol0bbb'), 'nvme1n1');
  t.equal(await find('vol0aaa'), 'nvme0n1', 'the blanks that NVMe fills up with do not count');
  t.equal(await find('bp18um4r4f2fve2444e5'), 'vdb');
  t.equal(await find('bp18um4r4f2fve2444e5andmore'), 'vdb', 'virtio tells the first 20 characters');
  t.equal(await find('bp18um4r4f2fve2444'), undefined, 'a part of a serial number is none');
  t.equal(await find('vol0ccc'), undefined);
  t.equal(await find(''), undefined);
});

t.test('udev may be late or absent, and its links stale', async (t) => {
  const { find } = machine(
    t,
    { 'vdb/serial': 'other', 'vdc/serial': 'mine', 'xvdd/size': '8', 'vde/serial': '' },
    {
      'virtio-mine': '../../vdb',
      'virtio-gone': '../../vdz',
      'virtio-silent': '../../xvdd',
      'virtio-empty': '../../vde',
    },
  );
  t.equal(await find('mine', ['virtio-mine']), 'vdc', 'the link leads to a disk that another one is by now');
  t.equal(await find('other2', ['virtio-mine']), undefined);
  t.equal(await find('gone', ['virtio-gone']), undefined);
  t.equal(
    await find('silent', ['nothing', 'virtio-silent']),
    'xvdd',
    'of a disk that tells no serial number a link will do',
  );
  t.equal(await find('empty', ['virtio-empty']), 'vde');
});

t.test('two disks with one serial number are none of them', async (t) => {
  const { find } = machine(t, { 'vdb/serial': 'same', 'vdc/serial': 'same' });
  const error: unknown = await find('same').catch((thrown: unknown) => thrown);
  t.ok(error instanceof PluginError && error.code === 'KERNEL');
  t.match(String(error), /serial number same: ENOTUNIQ.*vdb and .*vdc have it/);
});

t.test('where there is no sysfs there is no disk', async (t) => {
  t.equal(
    await deviceBySerial('mine', ['virtio-mine'], { sys: '/nonexistent/sys', dev: '/nonexistent/dev' }),
    undefined,
  );
});
