import t from 'tap';
import { byteOrder } from '../../../../volume-plugin/object/byte-order.ts';

t.test('texts are ordered as their bytes in UTF-8 are', async (t) => {
  const characters = [
    '',
    'a',
    'b',
    '/',
    '-',
    '0',
    '\0',
    'é',
    '\u07ff',
    '\ue000',
    '\uffff',
    '🙂',
    '\u{10ffff}',
    '\u{10000}',
    '～',
  ];
  const texts = characters.flatMap((one) => characters.map((other) => `x${one}${other}`));
  const sign = (n: number): number => Math.sign(n);
  const wrong = texts.flatMap((a) =>
    texts
      .filter((b) => sign(byteOrder(a, b)) !== sign(Buffer.compare(Buffer.from(a), Buffer.from(b))))
      .map((b) => [a, b]),
  );
  t.same(wrong, []);
});
